"""Says last, and loudly, which tests were run once more because they had failed: a plugin of pytest."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    again = sorted({report.nodeid for report in reporter.stats.get("rerun", ())}) if reporter else []
    if again:
        reporter.write_line(f"{len(again)} RUN ONCE MORE AFTER A FAILURE: {', '.join(again)}", red=True, bold=True)
