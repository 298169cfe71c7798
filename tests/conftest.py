"""What holds for all tests.

Properties are tried with the same inputs each time, however slow the machine: chance is the fuzz targets' matter.
Programs are started hundreds of times, so their modules are compiled once, whatever the surroundings say.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "privity", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("privity")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
