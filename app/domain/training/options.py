"""Options of an installed model, read by its JSON Schema: the small part that is read strictly.

A schema may only say what is checked here, and has to bound every value, so that no option is
taken unread and none is larger than its description thought of.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.domain.documents import read_choice, read_integer, read_list, read_object, read_text, under
from app.domain.errors import InvalidParameter

# What may and what has to stand in the schema of a value, by its type, beside `type`.
_BOUNDS: Final[Mapping[str, tuple[str, ...]]] = {
    "boolean": (),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "string": ("maxLength",),
    "array": ("maxItems", "items"),
}
_FURTHER: Final[Mapping[str, tuple[str, ...]]] = {"string": ("minLength",), "array": ("minItems",)}
_SAID: Final = ("title", "description", "default")
# A spec says these itself.
TAKEN: Final = ("name", "classes", "lora")


def check_schema(schema: object, pointer: str) -> None:
    """Refuse a schema of options that says more than is read, or bounds less than is needed.

    Raises:
        InvalidParameter: with the pointer of what is wrong.
    """
    fields = read_object(
        schema,
        pointer,
        required=("type", "properties"),
        optional=("required", "additionalProperties"),
    )
    read_choice(fields["type"], f"{pointer}/type", ("object",))
    if fields.get("additionalProperties", False) is not False:
        raise InvalidParameter(f"{pointer}/additionalProperties", "false is expected")
    at = f"{pointer}/properties"
    properties = fields["properties"]
    if not isinstance(properties, Mapping):
        raise InvalidParameter(at, "an object is expected")
    for name, value in properties.items():
        if not isinstance(name, str) or not name.isidentifier() or name in TAKEN:
            raise InvalidParameter(at, "an option has a plain name of its own")
        _check_value(value, under(at, name))
        if isinstance(value, Mapping) and "default" in value:
            _read_value(value, value["default"], f"{under(at, name)}/default")
    for index, name in enumerate(read_list(fields.get("required", []), pointer, most=100)):
        if name not in properties:
            raise InvalidParameter(f"{pointer}/required/{index}", "no option has this name")


def read_options(
    schema: Mapping[str, Any], given: Mapping[str, Any], pointer: str, *, ours: Sequence[str]
) -> dict[str, Any]:
    """The options, each default made explicit, in the order of the schema.

    Args:
        schema: that `check_schema` took.
        given: the model of a spec.
        pointer: where it lies in the request.
        ours: what stands beside its name and its options, and is read elsewhere.

    Raises:
        InvalidParameter: unknown, missing, or not what the schema says.
    """
    properties = schema["properties"]
    read_object(
        given,
        pointer,
        required=("name", *schema.get("required", ())),
        optional=(*ours, *properties),
    )
    found = {}
    for name, said in properties.items():
        if name in given:
            found[name] = _read_value(said, given[name], under(pointer, name))
        elif "default" in said:
            found[name] = said["default"]
    return found


def _check_value(schema: object, pointer: str) -> None:
    if not isinstance(schema, Mapping):
        raise InvalidParameter(pointer, "an object is expected")
    kind = read_choice(schema.get("type"), f"{pointer}/type", tuple(_BOUNDS))
    if kind == "string" and "enum" in schema:
        read_object(schema, pointer, required=("type", "enum"), optional=_SAID)
        for index, choice in enumerate(read_list(schema["enum"], f"{pointer}/enum", most=100)):
            read_text(choice, f"{pointer}/enum/{index}", most=200)
        return
    further = _FURTHER.get(kind, ())
    read_object(schema, pointer, required=("type", *_BOUNDS[kind]), optional=(*further, *_SAID))
    for key in (*_BOUNDS[kind], *further):
        value, at = schema.get(key, 0), under(pointer, key)
        if key == "items":
            _check_value(value, at)
        elif key in ("minimum", "maximum") and kind == "number":
            _read_number(value, at)
        else:
            read_integer(value, at, low=-(2**53), high=2**53)


def _read_value(schema: Mapping[str, Any], value: object, pointer: str) -> Any:
    match schema["type"]:
        case "boolean":
            if not isinstance(value, bool):
                raise InvalidParameter(pointer, "true or false is expected")
            return value
        case "integer":
            return read_integer(value, pointer, low=schema["minimum"], high=schema["maximum"])
        case "number":
            low, high = schema["minimum"], schema["maximum"]
            number = _read_number(value, pointer)
            if not low <= number <= high:
                raise InvalidParameter(pointer, f"a number from {low} to {high} is expected")
            return number
        case "string" if "enum" in schema:
            return read_choice(value, pointer, schema["enum"])
        case "string":
            least = schema.get("minLength", 0)
            return read_text(value, pointer, least=least, most=schema["maxLength"])
    least = schema.get("minItems", 0)
    members = read_list(value, pointer, least=least, most=schema["maxItems"])
    return [
        _read_value(schema["items"], member, under(pointer, index))
        for index, member in enumerate(members)
    ]


def _read_number(value: object, pointer: str) -> int | float:
    # Compared as it came: a huge integer has no float, and NaN equals nothing.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InvalidParameter(pointer, "a number is expected")
    return value
