"""Every study by the name that users type."""

from collections.abc import Mapping
from typing import Any

from metagrad_studies.anil import Anil
from metagrad_studies.batch_errors import BatchErrors
from metagrad_studies.bias import Bias
from metagrad_studies.bounds import Bounds
from metagrad_studies.consumption import Consumption
from metagrad_studies.curves import Curves
from metagrad_studies.error_accuracy import ErrorAccuracy
from metagrad_studies.error_grid import ErrorGrid
from metagrad_studies.memory import Memory
from metagrad_studies.network_errors import NetworkErrors
from metagrad_studies.order_accuracy import OrderAccuracy
from metagrad_studies.order_errors import OrderErrors
from metagrad_studies.signals import Signals
from metagrad_studies.smoothness import Smoothness
from metagrad_studies.study import Study
from metagrad_studies.table1 import Table1
from metagrad_studies.table2 import Table2

STUDIES: Mapping[str, Study[Any]] = {
    study.name: study
    for study in (
        Bounds(),
        BatchErrors(),
        OrderErrors(),
        Consumption(),
        Curves(),
        Table1(),
        Table2(),
        Anil(),
        ErrorAccuracy(),
        OrderAccuracy(),
        Bias(),
        Memory(),
        Signals(),
        Smoothness(),
        NetworkErrors(),
        ErrorGrid(),
    )
}
