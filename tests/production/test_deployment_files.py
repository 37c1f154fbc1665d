"""Compose file, manifests and images: valid by their published schemas, and what they promise.

No container engine runs in the tests: the files are parsed and compared, their commands are run
as plain processes (test_production.py), and images are not built.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.programs import (
    api_child,
    dispatch_child,
    gpu_worker_child,
    sender_child,
    worker_child,
)
from app.settings import Settings
from app.supervision import Child
from tests.production.compose import ROOT, command, compose, environment, service

VENDORED = ROOT / "tests" / "vendored"
MANIFESTS = ROOT / "deploy" / "kubernetes"
IMAGES = ROOT / "deploy" / "images"
IN_IMAGE = Settings(host="0.0.0.0")
PROGRAMS: dict[str, Child] = {
    "api": api_child(IN_IMAGE),
    "dispatch": dispatch_child(IN_IMAGE),
    "sender": sender_child(IN_IMAGE),
    "worker": worker_child(IN_IMAGE),
    "worker-gpu": gpu_worker_child(IN_IMAGE, 0),
}
# the images are for Linux on x86, whatever these tests run on
MARKERS = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(path.read_text("utf-8")):
                yield f"{path.relative_to(MANIFESTS)}:{document['kind']}", document


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, document in manifests():
        if document["kind"] in ("Deployment", "Job"):
            yield name, document["spec"]["template"]["spec"]


PODS = list(pods())


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, pod in PODS:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield container["name"], container


def test_the_compose_file_is_one_by_its_published_schema() -> None:
    schema = json.loads((VENDORED / "compose-spec" / "compose-spec.json").read_text("utf-8"))
    jsonschema_rs.validator_for(schema).validate(compose())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_service_of_the_compose_file_runs_what_the_tree_runs(name: str) -> None:
    child = PROGRAMS[name]
    assert command(name) == [*child.command]
    of_settings = IN_IMAGE.to_environment()
    beside = {k: v for k, v in child.environment.items() if k not in of_settings}
    assert beside.items() <= environment(name).items()


def test_the_embedded_tree_runs_no_program_that_the_compose_file_does_not() -> None:
    from app import programs

    made = {name.removesuffix("_child") for name in dir(programs) if name.endswith("_child")}
    assert made == {name.replace("worker-gpu", "gpu_worker") for name in PROGRAMS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_manifest_runs_what_the_compose_file_runs(name: str) -> None:
    (container,) = [each for found, each in containers() if found == name]
    assert container["command"] == service(name)["command"]
    given = {each["name"]: each["value"] for each in container.get("env", [])}
    assert ("REMAP_SIGTERM" in given) == name.startswith("worker")


def test_what_runs_once_runs_the_same_everywhere() -> None:
    for name in ("migrate", "key"):
        (container,) = [each for found, each in containers() if found == name]
        assert container["command"] == service(name)["command"]


def test_the_settings_of_compose_file_and_manifests_are_settings() -> None:
    (configured,) = [each["data"] for _, each in manifests() if each["kind"] == "ConfigMap"]
    for given in (*(environment(name) for name in PROGRAMS), configured):
        named = {k: v for k, v in given.items() if k.startswith("EPSILON_")}
        assert named.pop("EPSILON_DATABASE_URL_FILE").startswith("/run/secrets/")
        assert named.pop("EPSILON_BROKER_URL_FILE").startswith("/run/secrets/")
        assert Settings.from_environment(named).port == 8000


def test_every_service_is_hardened_and_no_secret_stands_in_an_environment() -> None:
    for name, each in compose()["services"].items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in each, name
        assert "cap_add" not in each, name
        for key, value in each.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|URL", key):
                assert key.endswith("_FILE"), key
                assert value.startswith("/run/secrets/")
                assert Path(value).name in each["secrets"], (name, key)
    declared = set(compose()["secrets"])
    used = {secret for each in compose()["services"].values() for secret in each.get("secrets", [])}
    assert used == declared
    # what is on the inside alone is published nowhere, and only the API is on the outside at all
    assert [name for name, each in compose()["services"].items() if "ports" in each] == ["api"]
    assert compose()["networks"]["inside"]["internal"] is True


def test_only_workers_see_rows_and_only_the_owner_migrates() -> None:
    for name, each in compose()["services"].items():
        mounts = [str(volume) for volume in each.get("volumes", [])]
        assert any(":/rows" in mount for mount in mounts) == name.startswith("worker"), name
        assert all(mount.endswith(":ro") for mount in mounts if ":/rows" in mount)
        assert ("owner_database_url" in each.get("secrets", [])) == (name == "migrate"), name
    for name, pod in PODS:
        claims = [volume.get("persistentVolumeClaim") for volume in pod["volumes"]]
        reads = any(claim and claim["claimName"] == "epsilon-ledger-rows" for claim in claims)
        assert reads == ("worker" in name), name
        keys = [
            item["key"] for each in pod["volumes"] if "secret" in each
            for item in each["secret"]["items"]
        ]  # fmt: skip
        assert ("owner_database_url" in keys) == name.startswith("migrate"), name


def test_every_manifest_is_one_by_the_published_schema_of_its_kind() -> None:
    kinds = json.loads((VENDORED / "kubernetes" / "kinds.json").read_text("utf-8"))
    for name, document in manifests():
        schema = {**kinds["kinds"][document["kind"]], "$defs": kinds["$defs"]}
        validator = jsonschema_rs.validator_for(schema, validate_formats=False)
        assert [f"{name}: {error.message}" for error in validator.iter_errors(document)] == []
        assert "namespace" not in document["metadata"], f"{name}: that is the kustomization's"


def test_the_kustomizations_name_every_manifest_and_nothing_else() -> None:
    for file in MANIFESTS.rglob("kustomization.yaml"):
        named = set(yaml.safe_load(file.read_text("utf-8"))["resources"]) - {".."}
        assert named == {path.name for path in file.parent.glob("*.yaml")} - {file.name}


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_a_pod_is_admitted_where_the_restricted_profile_is_enforced(
    name: str, pod: dict[str, Any]
) -> None:
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for volume in pod["volumes"]:
        assert set(volume) & {"persistentVolumeClaim", "emptyDir", "secret"}, (name, volume)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_every_selector_finds_the_pods_that_it_is_for() -> None:
    labels = [
        (each["kind"], each["spec"]["template"]["metadata"]["labels"])
        for _, each in manifests()
        if each["kind"] in ("Deployment", "Job")
    ]
    for name, each in manifests():
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector") or {}
        wanted = selector.get("matchLabels", selector if each["kind"] == "Service" else {})
        assert any(wanted.items() <= found.items() for _, found in labels), name


def closure(requirements: list[str]) -> set[str]:
    """All distributions that these requirements lead to, on the machine of the images."""
    seen: set[str] = set()
    waiting, done = [Requirement(text) for text in requirements], set()
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": "", **MARKERS}):
            continue
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in done:
            continue
        done.add((name, *sorted(requirement.extras)))
        seen.add(name)
        for text in distribution(name).requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra, **MARKERS})
                for extra in ("", *requirement.extras)
            ):
                needed.marker = None
                waiting.append(needed)
    return seen


def test_an_image_holds_what_its_programs_need_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for_service = project["dependencies"] + extras["postgres"] + extras["reports"]
    for_worker = [r for r in extras["worker"] if not r.startswith("torch")] + extras["torch-needs"]
    named = {name: (IMAGES / f"{name}.txt").read_text().split() for name in ("service", "worker")}
    wanted = closure(for_service)
    assert named["service"] == sorted(wanted)
    assert named["worker"] == sorted(closure(for_service + for_worker) - wanted)


def test_the_packages_of_the_images_are_taken_from_the_lock_with_their_hashes() -> None:
    for names in ("service", "worker", "building"):
        program = [sys.executable, str(IMAGES / "locked.py"), str(ROOT / "requirements.lock")]
        asked = [*program, str(IMAGES / f"{names}.txt")]
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        entries = re.findall(r"^([A-Za-z0-9._-]+)==", said, re.MULTILINE)
        wanted = (IMAGES / f"{names}.txt").read_text().split()
        assert {canonicalize_name(each) for each in entries} == set(wanted)
        assert said.count("--hash=sha256:") >= len(entries)


def test_a_package_that_the_lock_has_not_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("no-such-package\n")
    program = [sys.executable, str(IMAGES / "locked.py"), str(ROOT / "requirements.lock")]
    done = subprocess.run([*program, str(tmp_path / "names")], capture_output=True, check=False)
    assert done.returncode != 0


def test_the_images_run_what_the_services_run_as_nobody() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    stages = dict(re.findall(r"^FROM running AS (\S+)\n(.*?)(?=^FROM|\Z)", text, re.M | re.S))
    assert set(stages) == {"api", "worker", "worker-gpu"}
    for name, stage in stages.items():
        assert json.loads(re.findall(r"^CMD (.*)$", stage, re.M)[0]) == service(name)["command"]
        assert "USER" not in stage
    running = text.partition("AS running\n")[2].partition("FROM")[0]
    assert re.search(r"^USER 10001:10001$", running, re.M)
    targets = {
        each["build"]["target"] for each in compose()["services"].values() if "build" in each
    }
    assert targets == set(stages)


def test_what_the_images_are_built_from_is_there_and_sent_to_the_engine() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    sources = {each.rstrip("/") for words in copied for each in words if words[0][:2] != "--"}
    assert len(sources) >= 8
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in let_in), source


def test_secrets_are_made_once_whole_and_for_nobody_else(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "compose" / "prepare.sh"
    script.parent.mkdir(parents=True)
    script.write_text((ROOT / "deploy" / "compose" / "prepare.sh").read_text("utf-8"))
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    files = {path.name: path.read_text() for path in folder.iterdir()}
    assert {each["file"].rpartition("/")[2] for each in compose()["secrets"].values()} == set(files)
    for address, password in (
        ("owner_database_url", "owner_password"),
        ("database_url", "service_password"),
    ):
        assert len(files[password]) == 64
        assert f":{files[password]}@postgres/epsilon" in files[address]
    assert files["broker_url"].split(":")[2].split("@")[0] in files["valkey.conf"]
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    assert [path.name for path in tmp_path.iterdir() if path.name != "deploy"] == ["secrets"]
    # git and images leave them out
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_scripts_can_be_started() -> None:
    for path in (ROOT / "deploy" / "compose").glob("*.sh"):
        assert os.access(path, os.X_OK), path
