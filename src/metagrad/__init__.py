"""Meta-gradients for PyTorch: the gradient of the loss after adaptation with respect to where it started.

The public names are those of `__init__.pyi`. Each is imported when it is first used, so that the command line can
answer without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
