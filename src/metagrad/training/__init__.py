"""Meta-training: the loop, held-out evaluation, and the run directory that survives being killed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
