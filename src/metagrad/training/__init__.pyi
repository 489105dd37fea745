"""What `metagrad.training` offers, for type checkers; each name is imported when it is first used."""

from .bar import Bar as Bar
from .evaluation import HeldOut as HeldOut
from .evaluation import Interval as Interval
from .evaluation import evaluate as evaluate
from .evaluation import fixed_tasks as fixed_tasks
from .evaluation import interval as interval
from .evaluation import paired as paired
from .plan import Plan as Plan
from .progress import Lines as Lines
from .progress import Reporter as Reporter
from .progress import Silent as Silent
from .run import Run as Run
from .run_writer import RunWriter as RunWriter
from .trainer import Diverged as Diverged
from .trainer import Trainer as Trainer

__all__: list[str]
