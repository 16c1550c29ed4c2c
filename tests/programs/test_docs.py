"""The page of settings leaves none out. That generated pages are fresh is tested in `tests/house`."""

from docs.configuration import configuration_page
from durable_timer.config.sources import setting_names, variable


def test_every_setting_is_documented() -> None:
    page = configuration_page()
    for name in setting_names():
        assert f"`{name}`<br>`{variable(name)}`" in page
