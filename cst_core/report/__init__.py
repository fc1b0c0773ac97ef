"""Reports: one self-contained HTML file about a registration or a training run.

Nothing is fetched when such a file is opened: styles, scripts and pictures are in it. What differs from one kind of
data to another comes from the files and from ``register.json``; no modality is known here.
"""

from cst_core.report.registration import write_registration_report
from cst_core.report.run import write_run_report

__all__ = ["write_registration_report", "write_run_report"]
