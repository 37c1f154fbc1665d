"""The model card for people: Markdown made from the JSON card, and from nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def card_markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown: what the model is, what it cost, how to load it, what is not said."""
    model, data, training = card["model"], card["data"], card["training"]
    privacy, implementation = card["privacy"], card["implementation"]
    options = {key: model[key] for key in model if key not in _BESIDE}
    kernels = implementation["kernels"]
    sections = [
        ("Intended use", [card["intended_use"]]),
        (
            "Model",
            [
                f"`{model['name']}` with {_listed(options)}.",
                *_base(model.get("base")),
                f"Start: {_start(model)}.",
            ],
        ),
        (
            "Data",
            [
                f"{data['name']}, version {data['version']} (`{data['dataset_id']}`).",
                data["statement"],
            ],
        ),
        (
            "Training",
            [
                f"{training['algorithm']}, {training['loss']}, {_listed(training['optimizer'])}.",
                f"{training['steps_that_shaped_the_model']} steps shaped these weights; "
                f"{training['steps_started']} were started and are charged, "
                f"{training['steps_reserved']} were reserved.",
                f"Sums are divided by {training['normalise_by']}, which is public.",
            ],
        ),
        ("Evaluation", [_evaluation(card["evaluation"])]),
        ("Privacy", _privacy(privacy)),
        ("Audit of this run", _audit(card["audit"])),
        ("Limits", [_bullets(card["limits"])]),
        ("How to load it", _loading(model)),
        (
            "Implementation",
            [
                f"Clipping: {kernels['mode']} on the path {kernels['path']}; "
                f"noise: {kernels['noise']}.",
                _listed(implementation["libraries"]) + ".",
            ],
        ),
    ]
    parts = [f"# Model card: {model['name']} on {data['name']}"]
    parts += [f"## {title}\n\n" + "\n\n".join(blocks) for title, blocks in sections]
    return "\n\n".join(parts) + "\n"


# Of the model, what stands in lines of their own.
_BESIDE = ("name", "activation", "initial_weights", "weights", "base", "lora")


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in facts.items())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    if isinstance(value, str | bool | int | float) or value is None:
        return repr(value) if isinstance(value, str) and value.strip() != value else str(value)
    return " x ".join(str(each) for each in value) if isinstance(value, Sequence) else str(value)


def _start(model: Mapping[str, Any]) -> str:
    activation = model["activation"]
    between = "" if activation is None else f"; {activation} between the layers"
    return f"{model['initial_weights']}{between}"


def _base(base: Mapping[str, Any] | None) -> list[str]:
    if base is None:
        return []
    beside = ", ".join(f"`{name}`" for name in base["trained_beside"])
    return [
        f"Base: {base['title']} (sha256 {base['sha256']}). Its weights stay. What learnt is LoRA "
        f"of rank {base['rank']}, alpha {base['alpha']:g}, beside "
        f"{', '.join(f'`{name}`' for name in base['adapted'])}"
        f"{f'; and, from a fresh start, {beside}' if beside else ''}."
    ]


_UNITS = {
    "record": "record",
    "user": "user, whatever records he has,",
    "user_period": "user's records of one period, however many,",
}


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    found = evaluation["test_accuracy"]
    if found is None:
        return "No public set was named, so nothing is said of how well it predicts."
    return f"{found:.4f} right on the public set `{evaluation['dataset_id']}`."


def _privacy(privacy: Mapping[str, Any]) -> list[str]:
    lines = [
        f"One {_UNITS[privacy['unit_of_privacy']]} is protected, relation {privacy['relation']}.",
        f"Clipped {privacy['clip']['mode']}, sensitivity {privacy['sensitivity_l2']} in L2; noise "
        f"of {privacy.get('gradient_noise_multiplier', privacy['noise_multiplier'])} times that on "
        "each step's sum.",
        "Charged, in the ledger's exact units:",
    ]
    parts = [
        f"{part['max_units']} x `{json.dumps(part['mechanism'])}`" for part in privacy["parts"]
    ]
    return [*lines, _bullets(parts), "Assumptions:", _bullets(privacy["assumptions"])]


def _audit(audit: Mapping[str, Any] | None) -> list[str]:
    if audit is None:
        return ["This run carried no canaries: it shows nothing of itself."]
    lines = [f"Verdict of {audit['canaries']} canaries: {audit['verdict']}."]
    if "claimed_epsilon" in audit:
        lines.append(
            f"At delta {audit['delta']} the run claims epsilon {audit['claimed_epsilon']}; its "
            f"canaries show {audit['bound_epsilon']} at least and estimate "
            f"{audit['estimate_epsilon']}, at {audit['confidence']:.0%}."
        )
    return [*lines, "Not covered:", _bullets(audit["not_covered"])]


def _loading(model: Mapping[str, Any]) -> list[str]:
    base, of_the_base = model.get("base"), []
    if base is not None:
        of_the_base = [
            "They are those that have learnt. With NAME an adapted layer of the base, add "
            f"{base['alpha'] / base['rank']:g} times `NAME.up.weight @ NAME.down.weight` to its "
            "weight."
        ]
    return [
        "The weights are plain tensors by name, to be read without code of this service:",
        "```python\nfrom safetensors.torch import load_file\n"
        f'weights = load_file("{model["weights"]}")\n```',
        *of_the_base,
    ]
