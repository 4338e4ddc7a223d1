"""A sweep's report as one self-contained HTML file: `tracking.report.page`."""
