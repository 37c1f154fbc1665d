"""One frozen Settings, read from `EPSILON_*` variables by the entry points and by nobody else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from app.domain.mail_addresses import ADDRESS

PREFIX = "EPSILON_"
# Read by dev.py alone, before there is an environment to run this file in.
SET_UP_VARIABLES = frozenset({"EPSILON_TORCH_FIND_LINKS"})
# Of the command line alone: which service it speaks to, and the key that it speaks with.
URL_VARIABLE = "EPSILON_URL"
API_KEY_VARIABLE = "EPSILON_API_KEY"
NO_SETTINGS = SET_UP_VARIABLES | {URL_VARIABLE, API_KEY_VARIABLE}
# Connection strings of live sources, by the names that connections refer to: no settings.
SOURCES = "EPSILON_SOURCE_"

# Files that hold an address with its password, where no environment should: `docker inspect` and
# every crash report show environments.
ADDRESS_FILES = {
    "EPSILON_DATABASE_URL_FILE": "EPSILON_DATABASE_URL",
    "EPSILON_BROKER_URL_FILE": "EPSILON_BROKER_URL",
}

# scheme, host and port in lower case, and no path: as browsers write it
ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
# without TLS only where the provider runs on this very machine
ISSUER = re.compile(
    r"https://[^\s?#]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/[^\s?#]*)?"
)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
ENCRYPTIONS = ("starttls", "tls", "none")
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
TRUTHS = {"1": True, "true": True, "0": False, "false": False}


class SettingRefused(ValueError):
    """A variable is unknown or its value is not usable; the text names it, and never its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one process of the service needs to know; the same for every process of one house.

    The field `job_lease_s` is the variable EPSILON_JOB_LEASE_S, and so for all. Addresses may hold
    passwords, so they are not part of the printed form; EPSILON_DATABASE_URL_FILE and
    EPSILON_BROKER_URL_FILE name files that hold them, in place of the variables.

    database_url: SQLAlchemy address. Default: a SQLite file in `home`.
    broker_url: address in the Redis protocol. Default: the private socket of `home`.
    home: folder of the state that this machine keeps.
    witness_dir: folder of touches and checkpoints outside the database; on another disk it
        survives more. Default: in `home`. Every process of a machine has the same one (R22).
    key_file: what signs the checkpoints, mode 0600. Default: in `home` (R23).
    checkpoint_s: seconds between checkpoints, if anything moved.
    witness_days: for how long journals and checkpoint files are kept; longer than any backup.
    embedded: whether the API process also runs the relay and the sweeper.
    admission_batch_most: how many admissions one transaction decides; 0 locks rows a request.
    gpu_workers: how many workers with a GPU serve this house, one a device; 0 refuses jobs that
        ask for one. `up` starts as many, each with the device of its number.
    public_origin: where browsers reach the service, such as https://ledger.example; without it
        that is what each request says, which is right where no proxy stands in front.
    oidc_issuer: the identity provider by whom people sign in, as it names itself; without it they
        have passwords of this house.
    oidc_client_id: as whom the service is known to it.
    oidc_secret_file: what holds its secret there; a public client without it.
    pending_approvals_most: how many changes of one person may wait for a second one at once.
    report_terms_file: an organisation's own bounds and names of criteria for reports, as JSON; the
        catalogue's where it is not set.
    webhook_key_file: what webhooks' secrets are derived from, 32 bytes, mode 0600; made with the
        first webhook. Default: in `home`. Every process that sends has the same one.
    webhook_networks: where webhooks may lead besides public addresses, such as `10.20.0.0/16`;
        several with commas between. Default: nowhere.
    smtp_host, smtp_port: the server that mails are handed to; without a host none is sent.
    smtp_encryption: `starttls`, `tls`, or `none` where the server is this very machine.
    smtp_sender: the address that mails come from.
    smtp_user, smtp_password_file: how the service signs in there, if it does; mode 0600.
    metrics_token_file: what a scrape of /metrics shows, 32 characters or more, mode 0600; without
        it there is no /metrics.
    requests_per_second_most: of one caller to one API process, twice as many at once; 0 is no such
        limit.
    log_level: the least level of lines that the programs write: DEBUG, INFO, WARNING or ERROR.
    log_format: `text` for eyes, or `json`, an object a line, for what gathers logs.
    """

    database_url: str = field(default="", repr=False)
    broker_url: str = field(default="", repr=False)
    home: Path = Path(".epsilon")
    witness_dir: Path = Path()
    key_file: Path = Path()
    checkpoint_s: int = 300
    witness_days: int = 90
    host: str = "127.0.0.1"
    port: int = 8000
    embedded: bool = False
    job_lease_s: int = 30
    admission_batch_most: int = 256
    gpu_workers: int = 0
    pending_approvals_most: int = 50
    requests_per_second_most: int = 1000
    public_origin: str = ""
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_secret_file: Path = Path()
    report_terms_file: Path = Path()
    webhook_key_file: Path = Path()
    metrics_token_file: Path = Path()
    webhook_networks: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_encryption: str = "starttls"
    smtp_sender: str = ""
    smtp_user: str = ""
    smtp_password_file: Path = Path()
    log_level: str = "INFO"
    log_format: str = "text"

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        for name, inside in (
            ("witness_dir", "witness"),
            ("key_file", "signing.key"),
            ("webhook_key_file", "webhook.key"),
        ):
            given: Path = getattr(self, name)
            path = given.expanduser().absolute() if given != Path() else self.home / inside
            object.__setattr__(self, name, path)
        for name in ("report_terms_file", "metrics_token_file"):
            file: Path = getattr(self, name)
            if file != Path():
                object.__setattr__(self, name, file.expanduser().absolute())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'ledger.sqlite3'}")
        if not self.broker_url:
            object.__setattr__(self, "broker_url", f"redis+socket://{self.home / 'broker.sock'}")
        if not 0 <= self.port <= 65535:
            raise SettingRefused("EPSILON_PORT must lie between 0 and 65535")
        if not 3 <= self.job_lease_s <= 3600:
            raise SettingRefused("EPSILON_JOB_LEASE_S must lie between 3 and 3600 seconds")
        if not 0 <= self.admission_batch_most <= 1024:
            raise SettingRefused("EPSILON_ADMISSION_BATCH_MOST must lie between 0 and 1024")
        if not 0 <= self.gpu_workers <= 64:
            raise SettingRefused("EPSILON_GPU_WORKERS must lie between 0 and 64")
        if not 1 <= self.pending_approvals_most <= 10_000:
            raise SettingRefused("EPSILON_PENDING_APPROVALS_MOST must lie between 1 and 10000")
        if not 0 <= self.requests_per_second_most <= 1_000_000:
            raise SettingRefused("EPSILON_REQUESTS_PER_SECOND_MOST must lie between 0 and 1000000")
        if self.oidc_issuer and not ISSUER.fullmatch(self.oidc_issuer):
            raise SettingRefused("EPSILON_OIDC_ISSUER must begin with https://")
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            raise SettingRefused("EPSILON_OIDC_ISSUER and EPSILON_OIDC_CLIENT_ID go together")
        if self.public_origin and not ORIGIN.fullmatch(self.public_origin):
            raise SettingRefused("EPSILON_PUBLIC_ORIGIN must be like https://ledger.example:8443")
        self._check_notices()
        if not 1 <= self.checkpoint_s <= 86400:
            raise SettingRefused("EPSILON_CHECKPOINT_S must lie between 1 and 86400 seconds")
        if not 2 <= self.witness_days <= 3650:
            raise SettingRefused("EPSILON_WITNESS_DAYS must lie between 2 and 3650 days")
        if self.log_level not in LOG_LEVELS:
            raise SettingRefused(f"EPSILON_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
        if self.log_format not in LOG_FORMATS:
            raise SettingRefused(f"EPSILON_LOG_FORMAT must be one of {', '.join(LOG_FORMATS)}")

    def oidc_secret(self) -> str:
        """What the service proves itself by to the identity provider; empty for a public client.

        Raises:
            SettingRefused: the file cannot be read, or is empty.
        """
        if self.oidc_secret_file == Path():
            return ""
        try:
            secret = self.oidc_secret_file.read_text("utf-8").strip()
        except (OSError, ValueError):
            secret = ""
        if not secret:
            raise SettingRefused("EPSILON_OIDC_SECRET_FILE names no file with a secret")
        return secret

    def _check_notices(self) -> None:
        try:
            for network in self.webhook_networks.split(","):
                ip_network(network.strip() or "127.0.0.0/8")
        except ValueError:
            raise SettingRefused(
                "EPSILON_WEBHOOK_NETWORKS must be networks such as 10.20.0.0/16,fd12::/48"
            ) from None
        if not 1 <= self.smtp_port <= 65535:
            raise SettingRefused("EPSILON_SMTP_PORT must lie between 1 and 65535")
        if self.smtp_encryption not in ENCRYPTIONS:
            raise SettingRefused(f"EPSILON_SMTP_ENCRYPTION must be one of {', '.join(ENCRYPTIONS)}")
        if self.smtp_host and ADDRESS.fullmatch(self.smtp_sender) is None:
            raise SettingRefused(
                "EPSILON_SMTP_SENDER must be an address such as ledger@house.example"
            )
        if self.smtp_encryption == "none" and self.smtp_host not in ("", *THIS_MACHINE):
            raise SettingRefused(
                "EPSILON_SMTP_ENCRYPTION is none only where the host is this machine"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings out of an environment; an empty value counts as not set.

        Raises:
            SettingRefused: an `EPSILON_*` variable is unknown (a typing mistake must not leave a
                default in force in silence) or its value cannot be read.
        """
        environment = _with_addresses(environment)
        kinds = {PREFIX + f.name.upper(): (f.name, f.type) for f in fields(cls)}
        values: dict[str, str | int | bool | Path] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX) or variable.startswith(SOURCES) or not text:
                continue
            if variable in NO_SETTINGS:
                continue
            if variable not in kinds:
                raise SettingRefused(f"{variable} is not a setting; known: {', '.join(kinds)}")
            name, kind = kinds[variable]
            values[name] = _read(variable, text, kind)
        return cls(**values)  # type: ignore[arg-type]  # _read returns what the field declares

    def to_environment(self) -> dict[str, str]:
        """The variables that give a child process these same settings."""
        return {PREFIX + f.name.upper(): _write(getattr(self, f.name)) for f in fields(self)}


def _with_addresses(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the addresses that files hold, and without the names of the files."""
    read = dict(environment)
    for variable, address in ADDRESS_FILES.items():
        file = read.pop(variable, "")
        if not file:
            continue
        if read.get(address):
            raise SettingRefused(f"{variable} and {address} are both set: which of them?")
        try:
            read[address] = Path(file).read_text("utf-8").strip()
        except (OSError, ValueError):
            read[address] = ""
        if not read[address]:
            raise SettingRefused(f"{variable} names no file with an address")
    return read


def _read(variable: str, text: str, kind: object) -> str | int | bool | Path:
    if kind is bool:
        if text.lower() not in TRUTHS:
            raise SettingRefused(f"{variable} must be one of {', '.join(TRUTHS)}")
        return TRUTHS[text.lower()]
    if kind is int:
        if not (text.isascii() and text.isdecimal()):
            raise SettingRefused(f"{variable} must be a whole number")
        return int(text)
    return Path(text) if kind is Path else text


def _write(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
