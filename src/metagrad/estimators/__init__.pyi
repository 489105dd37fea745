"""What `metagrad.estimators` offers, for type checkers; each name is imported when it is first used."""

from .base import Adjoint as Adjoint
from .base import Chain as Chain
from .base import Cost as Cost
from .base import Episode as Episode
from .base import Estimate as Estimate
from .base import Estimator as Estimator
from .base import Pulled as Pulled
from .binomial import Binomial as Binomial
from .bounds import error_bound as error_bound
from .curvature_range import CurvatureRange as CurvatureRange
from .exact import Exact as Exact
from .exact import FirstOrder as FirstOrder
from .families import register as register
from .family import Family as Family
from .finite_difference import FiniteDifference as FiniteDifference
from .grouped import Grouped as Grouped
from .implicit import ConjugateGradient as ConjugateGradient
from .implicit import Implicit as Implicit
from .implicit import Neumann as Neumann
from .parallel import Parallel as Parallel
from .reptile import Reptile as Reptile
from .split import Hybrid as Hybrid
from .split import Split as Split
from .split import Truncated as Truncated
from .theorems import theorem_3_6 as theorem_3_6
from .theorems import theorem_3_8 as theorem_3_8
from .theorems import theorem_3_10 as theorem_3_10

__all__: list[str]
