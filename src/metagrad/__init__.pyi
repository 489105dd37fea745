"""What `metagrad` offers, for type checkers; each name is imported when it is first used."""

from . import batching as batching
from . import capture as capture
from . import choosing as choosing
from . import data as data
from . import estimators as estimators
from . import functional as functional
from . import inner as inner
from . import learner as learner
from . import networks as networks
from . import objectives as objectives
from . import optim as optim
from . import rules as rules
from . import task as task
from . import tree as tree
from .batching import MetaGradient as MetaGradient
from .batching import meta_gradient as meta_gradient
from .choosing import Auto as Auto
from .estimators import Binomial as Binomial
from .estimators import Exact as Exact
from .estimators import FiniteDifference as FiniteDifference
from .estimators import FirstOrder as FirstOrder
from .estimators import Grouped as Grouped
from .estimators import Hybrid as Hybrid
from .estimators import Implicit as Implicit
from .estimators import Parallel as Parallel
from .estimators import Reptile as Reptile
from .estimators import Split as Split
from .estimators import Truncated as Truncated
from .inner.learners import PartOfModel as PartOfModel
from .inner.learners import WholeModel as WholeModel
from .inner.loop import InnerLoop as InnerLoop
from .inner.proximal import Proximal as Proximal
from .inner.trajectory import Logarithmic as Logarithmic
from .inner.trajectory import Slots as Slots
from .inner.trajectory import SquareRoot as SquareRoot
from .inner.trajectory import Stored as Stored
from .learner import MetaLearner as MetaLearner
from .objectives import Objective as Objective
from .rules import SGD as SGD
from .rules import Adam as Adam
from .rules import AdamW as AdamW
from .rules import Clipped as Clipped
from .rules import Learned as Learned
from .rules import RMSprop as RMSprop
from .rules import Transform as Transform
from .rules import UpdateRule as UpdateRule
from .task import Batch as Batch
from .task import Steps as Steps
from .task import Task as Task

__version__: str
__all__: list[str]
