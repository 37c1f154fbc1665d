"""Settings are read once, whole and strictly."""

import pytest

from app.settings import SettingRefused, Settings


def test_a_misspelt_variable_is_refused_and_its_value_not_shown() -> None:
    with pytest.raises(SettingRefused, match="EPSILON_DATABASE is not a setting") as refusal:
        Settings.from_environment({"EPSILON_DATABASE": "postgresql://me:hunter2@db/ledger"})
    assert "hunter2" not in str(refusal.value)


def test_the_set_up_variable_of_torch_is_no_setting_and_no_mistake() -> None:
    given = {"EPSILON_TORCH_FIND_LINKS": "/wheels", "HOME": "/root"}
    assert Settings.from_environment(given) == Settings()


def test_no_password_is_printed() -> None:
    settings = Settings(
        database_url="postgresql+psycopg://me:hunter2@db/ledger", broker_url="redis://:hunter2@b/0"
    )
    assert "hunter2" not in repr(settings) + str(settings)


def test_a_child_process_reads_back_the_same_settings() -> None:
    settings = Settings(embedded=True, port=0, job_lease_s=4, broker_url="redis://b/3")
    assert Settings.from_environment(settings.to_environment()) == settings


def test_an_empty_value_leaves_the_default() -> None:
    assert Settings.from_environment({"EPSILON_PORT": ""}).port == 8000


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("EPSILON_PORT", "65536"),
        ("EPSILON_PORT", "-1"),
        ("EPSILON_PORT", "8e3"),
        ("EPSILON_JOB_LEASE_S", "0"),
        ("EPSILON_JOB_LEASE_S", "٣٠"),
        ("EPSILON_GPU_WORKERS", "65"),
        ("EPSILON_PENDING_APPROVALS_MOST", "0"),
        ("EPSILON_EMBEDDED", "yes please"),
        ("EPSILON_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_by_the_variables_name(
    variable: str, text: str
) -> None:
    with pytest.raises(SettingRefused, match=variable):
        Settings.from_environment({variable: text})


def test_connection_strings_of_sources_are_no_settings_and_reach_no_child() -> None:
    settings = Settings.from_environment({"EPSILON_SOURCE_CLINIC": "postgresql://secret"})
    assert "secret" not in repr(settings)
    assert not any("SOURCE" in variable for variable in settings.to_environment())
    with pytest.raises(SettingRefused):
        Settings.from_environment({"EPSILON_SOURCES": "1"})
