"""Settings are read once, whole and strictly."""

from pathlib import Path

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
        ("EPSILON_WEBHOOK_NETWORKS", "10.20.0.0/16,inside"),
        ("EPSILON_SMTP_PORT", "0"),
        ("EPSILON_SMTP_ENCRYPTION", "rot13"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_by_the_variables_name(
    variable: str, text: str
) -> None:
    with pytest.raises(SettingRefused, match=variable):
        Settings.from_environment({variable: text})


def test_connection_strings_of_sources_are_no_settings_and_reach_no_child() -> None:
    settings = Settings.from_environment({"EPSILON_SOURCE_CLINIC": "postgresql://secret"})
    assert "postgresql" not in repr(settings)
    assert not any("SOURCE" in variable for variable in settings.to_environment())
    with pytest.raises(SettingRefused):
        Settings.from_environment({"EPSILON_SOURCES": "1"})


@pytest.mark.parametrize(
    "given",
    [
        {"EPSILON_OIDC_ISSUER": "https://id.example"},
        {"EPSILON_OIDC_CLIENT_ID": "ledger"},
        {"EPSILON_OIDC_ISSUER": "http://id.example", "EPSILON_OIDC_CLIENT_ID": "ledger"},
        {"EPSILON_OIDC_ISSUER": "http://localhost.id.example", "EPSILON_OIDC_CLIENT_ID": "ledger"},
        {"EPSILON_PUBLIC_ORIGIN": "https://ledger.example/"},
        {"EPSILON_PUBLIC_ORIGIN": "https://Ledger.example"},
        {"EPSILON_PUBLIC_ORIGIN": "ledger.example"},
    ],
    ids=str,
)
def test_a_provider_without_tls_or_known_by_half_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(SettingRefused, match="EPSILON_"):
        Settings.from_environment(given)


def test_the_clients_secret_comes_from_its_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    given = {
        "EPSILON_OIDC_ISSUER": "http://127.0.0.1:9000/realm",
        "EPSILON_OIDC_CLIENT_ID": "ledger",
        "EPSILON_OIDC_SECRET_FILE": str(file),
    }
    settings = Settings.from_environment(given)
    for text in (None, " \n"):
        if text is not None:
            file.write_text(text)
        with pytest.raises(SettingRefused, match="EPSILON_OIDC_SECRET_FILE"):
            settings.oidc_secret()
    file.write_text("hunter2\n")
    assert settings.oidc_secret() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings.to_environment())
    assert Settings.from_environment(settings.to_environment()) == settings
    assert Settings.from_environment(Settings().to_environment()).oidc_secret() == ""


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"EPSILON_SMTP_HOST": "mail.example"}, "EPSILON_SMTP_SENDER"),
        (
            {"EPSILON_SMTP_HOST": "mail.example", "EPSILON_SMTP_SENDER": "a@b\r\nBcc: c@d"},
            "EPSILON_SMTP_SENDER",
        ),
        (
            {
                "EPSILON_SMTP_HOST": "mail.example",
                "EPSILON_SMTP_SENDER": "a@b.example",
                "EPSILON_SMTP_ENCRYPTION": "none",
            },
            "EPSILON_SMTP_ENCRYPTION",
        ),
    ],
)
def test_mails_need_a_sender_and_leave_this_machine_encrypted(
    given: dict[str, str], variable: str
) -> None:
    with pytest.raises(SettingRefused, match=variable):
        Settings.from_environment(given)


def test_an_address_may_lie_in_a_file_and_reaches_children_as_the_address(tmp_path: Path) -> None:
    (tmp_path / "database").write_text("postgresql+psycopg://me:hunter2@db/ledger\n")
    settings = Settings.from_environment(
        {"EPSILON_DATABASE_URL_FILE": str(tmp_path / "database"), "EPSILON_BROKER_URL_FILE": ""}
    )
    assert settings.database_url == "postgresql+psycopg://me:hunter2@db/ledger"
    assert "hunter2" not in repr(settings)
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize("text", [None, "", " \n", "\udcff"])
def test_a_file_without_an_address_is_refused_by_the_variables_name(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "broker").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SettingRefused, match="EPSILON_BROKER_URL_FILE names no file"):
        Settings.from_environment({"EPSILON_BROKER_URL_FILE": str(tmp_path / "broker")})


def test_an_address_and_a_file_for_it_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "database").write_text("sqlite:///of-a-file")
    given = {
        "EPSILON_DATABASE_URL_FILE": str(tmp_path / "database"),
        "EPSILON_DATABASE_URL": "sqlite:///hunter2",
    }
    with pytest.raises(SettingRefused, match="both set") as refusal:
        Settings.from_environment(given)
    assert "hunter2" not in str(refusal.value)
