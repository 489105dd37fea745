"""A page taken apart with the standard library's parser."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br"}
SHAPES = {"path", "rect"}  # closed with a slash inside an SVG


class Page(HTMLParser):
    """Elements, texts and the outline of a page; every element must be closed where it was opened."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []  # name, attributes, names of the ancestors
        self.texts = []
        self.headings = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES, tag
        self.elements.append((tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        if not {"style"} & set(self._open):
            self.texts.append(data)

    def of(self, *tags):
        """Attributes of all elements of these kinds."""
        return [attributes for tag, attributes, _ in self.elements if tag in tags]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def ids(self):
        return [attributes["id"] for _, attributes, _ in self.elements if "id" in attributes]
