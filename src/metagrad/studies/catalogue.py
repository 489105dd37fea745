"""Every study by the name that users type."""

from collections.abc import Mapping
from typing import Any

from metagrad.studies.anil import Anil
from metagrad.studies.batch_errors import BatchErrors
from metagrad.studies.bias import Bias
from metagrad.studies.bounds import Bounds
from metagrad.studies.consumption import Consumption
from metagrad.studies.curves import Curves
from metagrad.studies.error_accuracy import ErrorAccuracy
from metagrad.studies.error_grid import ErrorGrid
from metagrad.studies.memory import Memory
from metagrad.studies.network_errors import NetworkErrors
from metagrad.studies.order_accuracy import OrderAccuracy
from metagrad.studies.order_errors import OrderErrors
from metagrad.studies.signals import Signals
from metagrad.studies.smoothness import Smoothness
from metagrad.studies.study import Study
from metagrad.studies.table1 import Table1
from metagrad.studies.table2 import Table2

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
