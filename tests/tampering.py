"""Ways to falsify a bundle, each a function that changes an honest one and says whether it could.

How much the forger recomputes afterwards is a level of its own: nothing; the hashes of the chains;
the roots of the checkpoints too; all signatures, with a key of his own. The last level is the
ledger's own key in wrong hands: then signatures say nothing, and the rules alone have to find it.
"""

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from random import Random
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.domain.accounting.prices import Price, charge_parts
from app.domain.accounting.weights import weights_2p80
from app.domain.checkpoints import CHECKPOINT_TAG, HEADS_TAG
from app.domain.decimals import parse_decimal
from app.domain.ledger import ENTRY_TAG, GENESIS_HASH, canonical_bytes
from app.domain.privacy import Loss
from app.verifier import SLACK

Document = dict[str, Any]
Place = tuple[str, int]
KEY: Final = Ed25519PrivateKey.from_private_bytes(sha256(b"the ledger's key of a test").digest())
FOREIGN: Final = Ed25519PrivateKey.from_private_bytes(sha256(b"a forger's key of a test").digest())
LEVELS: Final = ("as it is", "hashed", "rooted", "foreign", "signed")
OUTSIDERS: Final = LEVELS[:4]
SEQUELS: Final = ("posted", "voided")


def raw_public(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public half."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@dataclass
class Bundle:
    """A bundle taken apart; `write` puts it together again."""

    header: Document
    prices: list[Document]
    chains: dict[str, list[Document]]
    checkpoints: list[Document]
    hashes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: bytes) -> "Bundle":
        """An honest bundle."""
        found = cls({}, [], {}, [])
        for line in raw.splitlines():
            document = json.loads(line)
            if "price" in document:
                found.prices.append(document["price"]["document"])
            elif "entry" in document:
                entry = document["entry"]
                found.chains.setdefault(entry["budget"], []).append(entry["body"])
                found.hashes[id(entry["body"])] = entry["hash"]
            elif "checkpoint" in document:
                found.checkpoints.append(document["checkpoint"])
            elif "kind" in document:
                found.header = document
        return found

    def write(self, level: str) -> bytes:
        """The lines, with as much recomputed as the forger's level has it."""
        written: list[tuple[bytes, bytes]] = []
        counts = {
            "budgets": len(self.chains),
            "checkpoints": len(self.checkpoints),
            "entries": sum(map(len, self.chains.values())),
            "prices": len(self.prices),
        }
        _line(written, {**self.header, "counts": counts})
        for document in sorted(self.prices, key=lambda each: each["digest"]):
            _line(written, {"price": {"digest": document["digest"], "document": document}})
        heads: dict[str, list[str]] = {}
        for budget in sorted(self.chains):
            heads[budget] = []
            previous = GENESIS_HASH
            for number, body in enumerate(self.chains[budget], start=1):
                if level != "as it is":
                    body |= {"seq": number, "prev": previous, "ledger": budget}
                previous = sha256(ENTRY_TAG + canonical_bytes(body)).hexdigest()
                told = self.hashes.get(id(body), previous) if level == "as it is" else previous
                heads[budget].append(told)
                entry = {"body": body, "budget": budget, "hash": told, "seq": number}
                line = canonical_bytes({"entry": entry}) + b"\n"
                written.append((line, told.encode()))
        if level not in ("as it is", "hashed"):
            key = {"rooted": None, "foreign": FOREIGN, "signed": KEY}[level]
            self.sign(heads, key)
        for checkpoint in self.checkpoints:
            _line(written, {"checkpoint": checkpoint})
        total = sha256(b"".join(stands for _, stands in written)).hexdigest()
        _line(written, {"end": {"lines": len(written) + 1, "sha256": total}})
        return b"".join(line for line, _ in written)

    def sign(self, hashes: dict[str, list[str]], key: Ed25519PrivateKey | None) -> None:
        """New heads, roots and links; new signatures if there is a key."""
        previous = GENESIS_HASH
        for number, each in enumerate(self.checkpoints, start=1):
            is_last = number == len(self.checkpoints)
            old = {head[0]: head[1] for head in each["heads"]}
            each["heads"] = [
                [budget, seq, chain[seq - 1]]
                for budget, chain in sorted(hashes.items())
                if (seq := len(chain) if is_last else min(old.get(budget, 0), len(chain)))
            ]
            text = canonical_bytes(each["heads"])
            root = sha256(HEADS_TAG + text).hexdigest()
            body = each["body"] | {
                "seq": number,
                "prev": previous,
                "heads": {"count": len(each["heads"]), "root": root},
            }
            if key is not None:
                body["key"] = sha256(raw_public(key)).hexdigest()
                body.pop("next_key", None)
            each["body"] = body
            tagged = CHECKPOINT_TAG + canonical_bytes(body)
            if key is not None:
                each["signature"] = base64.b64encode(key.sign(tagged)).decode()
            previous = sha256(tagged).hexdigest()

    # --- where to put the knife

    def of(self, *kinds: str) -> list[Place]:
        """The places of entries of some kinds."""
        return [
            (budget, index)
            for budget, chain in self.chains.items()
            for index, body in enumerate(chain)
            if body["kind"] in kinds
        ]

    def at(self, place: Place) -> Document:
        """An entry's body."""
        return self.chains[place[0]][place[1]]

    def kind(self, budget: str) -> str:
        """What kind of budget a chain is."""
        return str(self.chains[budget][0]["facts"]["kind"])

    def shared(self, kind: str) -> list[Place]:
        """Places of entries of a kind whose reservation stands in several plain budgets."""
        plain = [each for each in self.of(kind) if self.kind(each[0]) != "period"]
        often = [self.at(each)["reservation"] for each in plain]
        return [each for each in plain if often.count(self.at(each)["reservation"]) > 1]

    def charge(self, body: Document) -> None:
        """Give an entry the charge that its parts have."""
        prices = {each["digest"]: each for each in self.prices}
        loss = charge_parts(
            (Price.from_json(prices[part["price"]]), part["units"]) for part in body["parts"]
        )
        body["charge"] = loss.to_json()

    def reprice(self, old: str, new: Document) -> None:
        """Put another price in the place of one, with its digest, in all entries and charges."""
        facts = {name: value for name, value in new.items() if name != "digest"}
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        digest = sha256(text.encode()).hexdigest()
        self.prices = [each for each in self.prices if each["digest"] not in (old, digest)]
        self.prices.append({**facts, "digest": digest})
        for place in self.of("reserved", "opening", *SEQUELS):
            body = self.at(place)
            if any(part["price"] == old for part in body["parts"]):
                for part in body["parts"]:
                    if part["price"] == old:
                        part |= {"price": digest, "mechanism": facts["mechanism"]}
                self.charge(body)


def _line(written: list[tuple[bytes, bytes]], document: Document) -> None:
    line = canonical_bytes(document) + b"\n"
    written.append((line, line))


def a_uuid(draw: Random) -> str:
    """A new id."""
    return str(UUID(int=draw.getrandbits(128), version=4))


Falsify = Callable[[Bundle, Random], bool]


@dataclass(frozen=True)
class Kind:
    """A way to falsify, the levels at which it is found for certain, and for which reasons.

    codes: of a ledger's own key in wrong hands; empty where any reason will do. What holds too much
        or lacks a freeze may be found by what comes after it, before budgets are compared.
    """

    falsify: Falsify
    levels: tuple[str, ...]
    codes: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {}


def by(*levels: str, codes: str = "") -> Callable[[Falsify], Falsify]:
    """Enter a way to falsify under its own name."""

    def enter(falsify: Falsify) -> Falsify:
        name = falsify.__name__.replace("_", " ")
        KINDS[name] = Kind(falsify, levels, tuple(codes.split()))
        return falsify

    return enter


def _pick(draw: Random, places: list[Place]) -> Place | None:
    return draw.choice(places) if places else None


# --- any field, any order: found by hashes and signatures


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, each in items for leaf in _leaves(each, (*path, key))]
    return [path]


def _any_leaf(bundle: Bundle, draw: Random) -> tuple[Any, Any]:
    body = draw.choice(draw.choice([*bundle.chains.values()]))
    *path, last = draw.choice(_leaves(body))
    holder = body
    for key in path:
        holder = holder[key]
    return holder, last


@by(*OUTSIDERS)
def any_field_changed(bundle: Bundle, draw: Random) -> bool:
    """A character, a number or an emptiness of any field of any entry."""
    holder, key = _any_leaf(bundle, draw)
    old = holder[key]
    if key in ("seq", "prev", "ledger"):
        return False  # rewritten with the hashes
    if isinstance(old, str) and old:
        at = draw.randrange(len(old))
        new: Any = old[:at] + draw.choice("0123456789abcdef-.") + old[at + 1 :]
    elif isinstance(old, int):
        new = int(old) + draw.choice((-1, 1))
    else:
        new = "x"
    holder[key] = new
    return bool(new != old)


@by(*OUTSIDERS)
def any_field_removed(bundle: Bundle, draw: Random) -> bool:
    """Any field of any entry is not there any more."""
    holder, key = _any_leaf(bundle, draw)
    if key in ("seq", "prev", "ledger"):
        return False
    del holder[key]
    return True


@by(*OUTSIDERS)
def a_field_added(bundle: Bundle, draw: Random) -> bool:
    """An entry says more than it did."""
    bundle.at(_pick(draw, [*_all(bundle)]) or ("", 0))["note"] = "x"
    return True


@by(*OUTSIDERS)
def an_entry_removed(bundle: Bundle, draw: Random) -> bool:
    """Any entry is gone, and what comes after it is numbered anew."""
    budget, index = draw.choice([*_all(bundle)])
    del bundle.chains[budget][index]
    if not bundle.chains[budget]:
        del bundle.chains[budget]
    return True


@by(*OUTSIDERS)
def an_entry_added(bundle: Bundle, draw: Random) -> bool:
    """A copy of any entry under a new id, anywhere in its chain."""
    budget, index = draw.choice([*_all(bundle)])
    body = copy.deepcopy(bundle.chains[budget][index]) | {"id": a_uuid(draw)}
    bundle.chains[budget].insert(draw.randint(1, len(bundle.chains[budget])), body)
    return True


@by(*OUTSIDERS)
def two_entries_swapped(bundle: Bundle, draw: Random) -> bool:
    """Two entries of one chain have changed places."""
    chain = draw.choice([*bundle.chains.values()])
    if len(chain) < 3:
        return False
    one, other = draw.sample(range(1, len(chain)), 2)
    chain[one], chain[other] = chain[other], chain[one]
    return True


@by(*OUTSIDERS)
def a_chain_cut(bundle: Bundle, draw: Random) -> bool:
    """The end of a chain is gone."""
    chain = draw.choice([*bundle.chains.values()])
    if len(chain) < 2:
        return False
    del chain[draw.randrange(1, len(chain)) :]
    return True


@by(*OUTSIDERS)
def a_budget_removed(bundle: Bundle, draw: Random) -> bool:
    """A whole chain is gone."""
    del bundle.chains[draw.choice([*bundle.chains])]
    return True


@by(*OUTSIDERS)
def a_budget_renamed(bundle: Bundle, draw: Random) -> bool:
    """A whole chain stands under another id."""
    bundle.chains[a_uuid(draw)] = bundle.chains.pop(draw.choice([*bundle.chains]))
    return True


def _all(bundle: Bundle) -> list[Place]:
    return [(budget, at) for budget, chain in bundle.chains.items() for at in range(len(chain))]


# --- charges and prices


@by(*LEVELS, codes="charge")
def a_charge_lowered(bundle: Bundle, draw: Random) -> bool:
    """One order of one charge is one unit less, or dead where it was not."""
    place = _pick(draw, bundle.of("reserved", "posted", "opening"))
    if place is None:
        return False
    nats = bundle.at(place)["charge"]["nats_2p40"]
    at = draw.randrange(len(nats))
    if nats[at] == "0":
        return False
    nats[at] = str(int(nats[at]) - 1)
    return True


@by(*LEVELS, codes="charge")
def a_charge_zeroed(bundle: Bundle, draw: Random) -> bool:
    """A charge is nothing."""
    place = _pick(draw, bundle.of("reserved", "posted", "opening"))
    if place is None or bundle.at(place)["charge"] == Loss.zero().to_json():
        return False
    bundle.at(place)["charge"] = Loss.zero().to_json()
    return True


@by(*LEVELS, codes="charge form")
def another_sum_of_a_charge_changed(bundle: Bundle, draw: Random) -> bool:
    """Its worst case, its delta, its Gaussian sum or a count of what is dead."""
    place = _pick(draw, bundle.of("reserved", "opening", *SEQUELS))
    if place is None:
        return False
    charge = bundle.at(place)["charge"]
    name = draw.choice(["maximum_atto", "delta_atto", "gaussian_atto", "maximum_dead", "dead"])
    if name == "dead":
        charge["dead"][draw.randrange(36)] ^= 1
    elif name == "maximum_dead":
        charge[name] ^= 1
    else:
        charge[name] = str(int(charge[name]) + draw.choice((1, 10**12)))
    return True


@by(*LEVELS, codes="charge resolution")
def units_changed_and_not_the_charge(bundle: Bundle, draw: Random) -> bool:
    """A part says other units than were charged."""
    place = _pick(draw, bundle.of("reserved", "posted", "opening"))
    if place is None or not bundle.at(place)["parts"]:
        return False
    part = draw.choice(bundle.at(place)["parts"])
    part["units"] = max(0, part["units"] + draw.choice((-1, 1)))
    return True


@by(*LEVELS, codes="path resolution charge")
def fewer_units_in_one_budget(bundle: Bundle, draw: Random) -> bool:
    """A reservation and its end are smaller in one budget of their path, charges and all."""
    place = _pick(draw, bundle.shared("reserved"))
    if place is None:
        return False
    body = bundle.at(place)
    body["parts"][0]["units"] -= 1
    bundle.charge(body)
    for later in bundle.chains[place[0]]:
        if later["resolves"] == body["id"]:
            most = body["parts"][0]["units"]
            later["parts"][0]["units"] = min(most, later["parts"][0]["units"])
            bundle.charge(later)
    return True


@by(*LEVELS, codes="price")
def a_price_made_cheaper(bundle: Bundle, draw: Random) -> bool:
    """A price, its digest, and every charge by it, a tenth lower."""
    return _reprice(bundle, draw, 0.9)


@by(*LEVELS, codes="price")
def a_price_made_dearer(bundle: Bundle, draw: Random) -> bool:
    """A price, its digest, and every charge by it, a tenth higher."""
    return _reprice(bundle, draw, 1.1)


def _reprice(bundle: Bundle, draw: Random, factor: float) -> bool:
    used = [part["price"] for each in bundle.of("reserved") for part in bundle.at(each)["parts"]]
    if not used:
        return False
    old = draw.choice(used)
    new = copy.deepcopy(next(each for each in bundle.prices if each["digest"] == old))
    for term in new["terms"]:
        term["nats"] = [(float.fromhex(nats) * factor).hex() for nats in term["nats"]]
    bundle.reprice(old, new)
    return True


@by(*LEVELS, codes="price")
def a_worst_case_made_smaller(bundle: Bundle, draw: Random) -> bool:
    """A price with a finite worst case says a smaller one; without one, it says one."""
    if not bundle.prices or not bundle.of("reserved"):
        return False
    new = copy.deepcopy(draw.choice(bundle.prices))
    maximum = new["maximum_atto"]
    new["maximum_atto"] = "1" if maximum is None else str(int(maximum) - 1)
    bundle.reprice(new["digest"], new)
    return True


@by(*LEVELS, codes="price")
def another_mechanism_for_a_price(bundle: Bundle, draw: Random) -> bool:
    """The mechanism of a price is another one, in its entries too, and the figures stay."""
    used = [part["price"] for each in bundle.of("reserved") for part in bundle.at(each)["parts"]]
    if not used:
        return False
    old = draw.choice(used)
    new = copy.deepcopy(next(each for each in bundle.prices if each["digest"] == old))
    new["mechanism"] = draw.choice(
        [
            {"type": "gaussian", "noise_multiplier": "777"},
            {"type": "pure", "epsilon": "7e-7"},
            {"type": "repeated", "count": 2, "of": new["mechanism"]},
        ]
    )
    bundle.reprice(old, new)
    return True


@by(*LEVELS, codes="price")
def another_relation_for_a_price(bundle: Bundle, draw: Random) -> bool:
    """One price of several is of another neighbouring relation."""
    used = {part["price"] for each in bundle.of("reserved") for part in bundle.at(each)["parts"]}
    if len(used) < 2:
        return False
    old = draw.choice(sorted(used))
    new = copy.deepcopy(next(each for each in bundle.prices if each["digest"] == old))
    new["relation"] = "replace_one" if draw.random() < 0.5 else "zero_out"
    bundle.reprice(old, new)
    return True


@by(*LEVELS, codes="price")
def a_used_price_removed(bundle: Bundle, draw: Random) -> bool:
    """A price that entries name is not in the table."""
    used = [part["price"] for each in bundle.of("reserved") for part in bundle.at(each)["parts"]]
    if not used:
        return False
    gone = draw.choice(used)
    bundle.prices = [each for each in bundle.prices if each["digest"] != gone]
    return True


# --- decisions and ends of reservations


@by(*LEVELS, codes="limit state")
def an_admission_over_the_limit(bundle: Bundle, draw: Random) -> bool:
    """A reservation like one that is there, far larger, in all budgets of its path."""
    place = _pick(draw, bundle.of("reserved"))
    if place is None:
        return False
    model, reservation = bundle.at(place)["reservation"], a_uuid(draw)
    for chain in bundle.chains.values():
        for body in [each for each in chain if each["kind"] == "reserved"]:
            if body["reservation"] == model:
                more = copy.deepcopy(body) | {"id": a_uuid(draw), "reservation": reservation}
                for part in more["parts"]:
                    part["units"] = 2**39
                bundle.charge(more)
                chain.append(more | {"at": chain[-1]["at"]})
    return True


@by(*LEVELS, codes="resolution path")
def a_reservation_without_its_beginning(bundle: Bundle, draw: Random) -> bool:
    """A reserved entry is gone, and its end is there."""
    ends = {bundle.at(each)["resolves"] for each in bundle.of(*SEQUELS)}
    place = _pick(draw, [each for each in bundle.of("reserved") if bundle.at(each)["id"] in ends])
    if place is None:
        return False
    del bundle.chains[place[0]][place[1]]
    return True


@by(*LEVELS, codes="path")
def a_reservation_missing_in_one_budget(bundle: Bundle, draw: Random) -> bool:
    """A reservation and its end are gone from a budget above its leaf."""
    below = {chain[0]["facts"]["parent"] for chain in bundle.chains.values()}
    places = [each for each in bundle.shared("reserved") if each[0] in below]
    place = None
    for budget, index in places:
        gone = bundle.chains[budget][index]["reservation"]
        holders = [b for b, i in bundle.of("reserved") if bundle.at((b, i))["reservation"] == gone]
        if any(bundle.chains[each][0]["facts"]["parent"] == budget for each in holders):
            place = (budget, gone)
            break
    if place is None:
        return False
    chain = bundle.chains[place[0]]
    chain[:] = [each for each in chain if each["reservation"] != place[1]]
    return True


# without its end more is held, so what comes after may pass a limit, or owe a freeze that never was
@by(*LEVELS, codes="path limit state")
def an_end_missing_in_one_budget(bundle: Bundle, draw: Random) -> bool:
    """A reservation ended everywhere but in one budget."""
    place = _pick(draw, bundle.shared("posted") + bundle.shared("voided"))
    if place is None:
        return False
    del bundle.chains[place[0]][place[1]]
    return True


@by(*LEVELS, codes="resolution")
def a_reservation_ended_twice(bundle: Bundle, draw: Random) -> bool:
    """The end of a reservation is there a second time, under a new id."""
    place = _pick(draw, bundle.of(*SEQUELS))
    if place is None:
        return False
    budget, index = place
    again = copy.deepcopy(bundle.at(place)) | {"id": a_uuid(draw)}
    bundle.chains[budget].insert(index + 1, again)
    return True


@by(*LEVELS, codes="resolution")
def more_posted_than_was_reserved(bundle: Bundle, draw: Random) -> bool:
    """A posted entry charges more units than were held."""
    place = _pick(draw, bundle.of("posted"))
    if place is None:
        return False
    body = bundle.at(place)
    body["parts"][0]["units"] += 2**20
    bundle.charge(body)
    return True


@by(*LEVELS, codes="path")
def less_posted_in_one_budget(bundle: Bundle, draw: Random) -> bool:
    """A posted entry charges fewer units in one budget of its path."""
    places = [each for each in bundle.shared("posted") if bundle.at(each)["parts"][0]["units"]]
    place = _pick(draw, places)
    if place is None:
        return False
    body = bundle.at(place)
    body["parts"][0]["units"] -= 1
    bundle.charge(body)
    return True


@by(*LEVELS, codes="resolution path")
def posted_made_void_in_one_budget(bundle: Bundle, draw: Random) -> bool:
    """What was charged is given back in one budget of its path."""
    place = _pick(draw, bundle.shared("posted"))
    if place is None:
        return False
    body = bundle.at(place)
    body["kind"] = "voided"
    for part in body["parts"]:
        part["units"] = 0
    bundle.charge(body)
    return True


@by(*LEVELS, codes="resolution")
def a_void_that_charges(bundle: Bundle, draw: Random) -> bool:
    """A voided entry has units and their charge."""
    place = _pick(draw, bundle.of("voided"))
    if place is None:
        return False
    body = bundle.at(place)
    body["parts"][0]["units"] = 1
    bundle.charge(body)
    return True


@by(*LEVELS, codes="resolution")
def two_ends_crossed(bundle: Bundle, draw: Random) -> bool:
    """Two ends of one chain name each other's beginnings."""
    for chain in draw.sample([*bundle.chains.values()], len(bundle.chains)):
        ends = [each for each in chain if each["resolves"]]
        if len(ends) > 1:
            one, other = draw.sample(ends, 2)
            one["resolves"], other["resolves"] = other["resolves"], one["resolves"]
            return True
    return False


@by(*LEVELS, codes="resolution")
def an_end_before_its_beginning(bundle: Bundle, draw: Random) -> bool:
    """A resolution stands before what it resolves."""
    place = _pick(draw, bundle.of(*SEQUELS))
    if place is None:
        return False
    chain = bundle.chains[place[0]]
    end = chain.pop(place[1])
    index = next(i for i, each in enumerate(chain) if each["id"] == end["resolves"])
    chain.insert(index, end | {"at": chain[index]["at"]})
    return True


@by(*LEVELS, codes="resolution charge")
def another_price_at_the_end(bundle: Bundle, draw: Random) -> bool:
    """A reservation ends at the price of another mechanism."""
    place = _pick(draw, bundle.of("posted"))
    if place is None or len(bundle.prices) < 2:
        return False
    body = bundle.at(place)
    part = body["parts"][0]
    other = draw.choice([each for each in bundle.prices if each["digest"] != part["price"]])
    part |= {"price": other["digest"], "mechanism": other["mechanism"]}
    bundle.charge(body)
    return True


# --- limits, states, people


@by(*LEVELS, codes="policy limit")
def weights_moved_at_the_creation(bundle: Bundle, draw: Random) -> bool:
    """One weight of a policy goes to another order."""
    places = [
        each
        for each in bundle.of("opened")
        if bundle.at(each)["facts"]["policy"].get("weights_2p80")
        and bundle.kind(each[0]) != "period"
    ]
    place = _pick(draw, places)
    if place is None:
        return False
    weights = bundle.at(place)["facts"]["policy"]["weights_2p80"]
    one, other = draw.sample(range(36), 2)
    if weights[one] == "0":
        return False
    weights[one], weights[other] = str(int(weights[one]) - 1), str(int(weights[other]) + 1)
    return True


@by(*LEVELS, codes="policy")
def a_limit_widened_at_the_creation(bundle: Bundle, draw: Random) -> bool:
    """A limit is higher than the weights or mu^2 that were worked out from it."""
    places = [
        each
        for each in bundle.of("opened")
        if "weights_2p80" in bundle.at(each)["facts"]["policy"] and bundle.kind(each[0]) != "period"
    ]
    place = _pick(draw, places)
    if place is None:
        return False
    limit = bundle.at(place)["facts"]["policy"]["limit"]
    limit["epsilon"] = str(float(limit["epsilon"]) * draw.choice((1.01, 2)))
    return True


@by(*LEVELS, codes="policy")
def weights_fitted_anew_by_a_raise(bundle: Bundle, draw: Random) -> bool:
    """A raise carries the weights of its new limit."""
    for place in draw.sample(bundle.of("raised"), len(bundle.of("raised"))):
        policy = bundle.at(place)["facts"]["policy"]
        if policy["accountant"] == "rdp-mix/1" and bundle.kind(place[0]) != "period":
            limit = [parse_decimal(policy["limit"][name], "") for name in ("epsilon", "delta")]
            split = parse_decimal(policy["delta_split"], "")
            fresh = [str(each) for each in weights_2p80(limit[0], limit[1], split)]
            if fresh != policy["weights_2p80"]:
                policy["weights_2p80"] = fresh
                return True
    return False


@by(*LEVELS, codes="policy limit")
def a_raise_to_more_than_it_says(bundle: Bundle, draw: Random) -> bool:
    """The policy after a raise has another limit than the entry names."""
    place = _pick(draw, bundle.of("raised", "lowered", "transferred"))
    if place is None:
        return False
    limit = bundle.at(place)["facts"]["policy"]["limit"]
    limit["epsilon"] = str(float(limit["epsilon"]) * 1.5)
    return True


@by(*LEVELS, codes="limit")
def a_limit_lowered_below_what_is_held(bundle: Bundle, draw: Random) -> bool:
    """A lowering that the balance does not pass."""
    for budget in draw.sample([*bundle.chains], len(bundle.chains)):
        chain = bundle.chains[budget]
        policy = next(b["facts"]["policy"] for b in reversed(chain) if "policy" in b["facts"])
        ends = {each["resolves"] for each in chain}
        holds = any(
            each["kind"] in ("posted", "opening", "reserved")
            and each["id"] not in ends
            and each["charge"] != Loss.zero().to_json()
            for each in chain
        )
        closed = any(each["kind"] == "closed" for each in chain)
        if not holds or closed or policy["accountant"] in ("gdp/1", "plan-pld/1"):
            continue
        new = copy.deepcopy(policy)
        new["limit"]["epsilon"] = "1e-12"
        facts = {"from": policy["limit"], "to": new["limit"], "policy": new}
        facts |= {"change_sha256": "0" * 64, "decided_by": "x", "reason": ""}
        _append(chain, draw, "lowered", facts)
        return True
    return False


def _append(chain: list[Document], draw: Random, kind: str, facts: Document) -> None:
    body = copy.deepcopy(chain[0])
    body |= {"id": a_uuid(draw), "kind": kind, "actor": "x", "facts": facts, "at": chain[-1]["at"]}
    body |= {"parts": [], "charge": Loss.zero().to_json()}
    chain.append(body)


@by(*LEVELS, codes="people")
def a_change_by_one_person(bundle: Bundle, draw: Random) -> bool:
    """Who asked has decided, or nobody has asked."""
    places = [
        each
        for each in bundle.of("opened", "raised", "thawed", "opening")
        if bundle.at(each)["kind"] == "opening" or bundle.kind(each[0]) in ("lifetime", "window")
    ]
    place = _pick(draw, places)
    if place is None:
        return False
    facts = bundle.at(place)["facts"]
    if draw.random() < 0.5:
        facts["requested_by"] = facts["decided_by"]
    else:
        facts.pop(draw.choice(["requested_by", "approval"]))
    return True


@by(*LEVELS, codes="state")
def something_reserved_while_frozen(bundle: Bundle, draw: Random) -> bool:
    """A freeze stands before a reservation."""
    place = _pick(draw, bundle.of("reserved"))
    if place is None:
        return False
    chain = bundle.chains[place[0]]
    _append(chain, draw, "frozen", {"reason": ""})
    chain.insert(place[1], chain.pop() | {"at": chain[place[1]]["at"]})
    return True


@by(*LEVELS, codes="state")
def something_reserved_after_the_end(bundle: Bundle, draw: Random) -> bool:
    """A budget is closed before a reservation."""
    place = _pick(draw, bundle.of("reserved"))
    if place is None:
        return False
    chain = bundle.chains[place[0]]
    _append(chain, draw, "closed", {"reason": ""})
    chain.insert(place[1], chain.pop() | {"at": chain[place[1]]["at"]})
    return True


@by(*LEVELS, codes="state")
def a_thaw_without_a_freeze(bundle: Bundle, draw: Random) -> bool:
    """A frozen entry is gone, and its thaw is there."""
    for budget, index in draw.sample(bundle.of("thawed"), len(bundle.of("thawed"))):
        chain = bundle.chains[budget]
        at = max(i for i in range(index) if chain[i]["kind"] == "frozen")
        if not any(
            chain[at]["facts"].get("approval") == b["facts"].get("approval") != None  # noqa: E711
            for b in chain[:at]
            if b["kind"] == "opening"
        ):
            del chain[at]
            return True
    return False


@by(*LEVELS, codes="state")
def an_overrun_that_was_not_frozen(bundle: Bundle, draw: Random) -> bool:
    """Earlier spend passed a limit, and the freeze that follows is gone."""
    for budget, index in bundle.of("opening"):
        chain = bundle.chains[budget]
        follows = chain[index + 1] if index + 1 < len(chain) else None
        if follows and follows["facts"].get("approval") == chain[index]["facts"]["approval"]:
            del chain[index + 1]
            return True
    return False


@by(*LEVELS, codes="path state")
def earlier_spend_missing_above(bundle: Bundle, draw: Random) -> bool:
    """Earlier spend is gone from one budget of its path."""
    places = bundle.of("opening")
    often = [bundle.at(each)["facts"]["approval"] for each in places]
    place = _pick(draw, [e for e in places if often.count(bundle.at(e)["facts"]["approval"]) > 1])
    if place is None:
        return False
    chain = bundle.chains[place[0]]
    gone = chain[place[1]]["facts"]["approval"]
    chain[:] = [each for each in chain if each["facts"].get("approval") != gone]
    return any(each["kind"] == "opened" for each in chain)


@by(*LEVELS, codes="policy")
def a_transfer_that_gives_more_than_it_takes(bundle: Bundle, draw: Random) -> bool:
    """One side of a transfer is gone, or names another amount."""
    place = _pick(draw, bundle.of("transferred"))
    if place is None:
        return False
    bundle.at(place)["facts"]["epsilon"] = "0.049"
    return True


@by(*LEVELS, codes="time")
def an_entry_older_than_the_one_before(bundle: Bundle, draw: Random) -> bool:
    """An entry is of a day before its chain began."""
    place = _pick(draw, [each for each in _all(bundle) if each[1]])
    if place is None:
        return False
    bundle.at(place)["at"] = "2026-12-31T23:59:59.000000Z"
    return True


@by(*LEVELS, codes="chain")
def one_id_twice(bundle: Bundle, draw: Random) -> bool:
    """Two entries of a chain have one id."""
    for chain in draw.sample([*bundle.chains.values()], len(bundle.chains)):
        if len(chain) > 2:
            chain[-1]["id"] = chain[0]["id"]
            return True
    return False


@by(*LEVELS, codes="form state")
def an_entry_of_an_unknown_kind(bundle: Bundle, draw: Random) -> bool:
    """An entry is of a kind that nobody knows."""
    place = _pick(draw, [each for each in _all(bundle) if each[1]])
    if place is None:
        return False
    bundle.at(place)["kind"] = "forgiven"
    return True


# --- the tree and its windows


@by(*LEVELS, codes="tree people policy")
def a_second_root(bundle: Bundle, draw: Random) -> bool:
    """An allocation says that it is a root."""
    places = [each for each in bundle.of("opened") if bundle.kind(each[0]) == "allocation"]
    place = _pick(draw, places)
    if place is None:
        return False
    body = bundle.at(place)
    body["facts"] |= {"kind": "lifetime", "parent": None, "approval": "x"}
    body["facts"] |= {"requested_by": "x", "decided_by": body["actor"]}
    return True


@by(*LEVELS, codes="tree")
def a_budget_without_what_is_above(bundle: Bundle, draw: Random) -> bool:
    """A budget hangs below one that is not there, or the one above is of another kind."""
    places = [each for each in bundle.of("opened") if bundle.kind(each[0]) != "lifetime"]
    place = _pick(draw, places)
    if place is None:
        return False
    bundle.at(place)["facts"]["parent"] = a_uuid(draw)
    return True


@by(*LEVELS, codes="tree path")
def a_budget_of_another_dataset(bundle: Bundle, draw: Random) -> bool:
    """A budget says that it is of another dataset than the one above it."""
    places = [each for each in bundle.of("opened") if bundle.kind(each[0]) != "lifetime"]
    place = _pick(draw, places)
    if place is None:
        return False
    bundle.at(place)["facts"]["dataset"] = a_uuid(draw)
    return True


@by(*LEVELS, codes="tree")
def a_period_removed(bundle: Bundle, draw: Random) -> bool:
    """A period is gone with all that was started in it."""
    place = _pick(draw, [each for each in bundle.of("opened") if bundle.kind(each[0]) == "period"])
    if place is None:
        return False
    del bundle.chains[place[0]]
    return True


@by(*LEVELS, codes="tree")
def two_periods_that_overlap(bundle: Bundle, draw: Random) -> bool:
    """A period begins before the one before it ends."""
    windows = [b for b in bundle.chains if bundle.kind(b) == "window"]
    for budget in draw.sample(windows, len(windows)):
        opened = [each for each in bundle.chains[budget] if each["kind"] == "refreshed"]
        if len(opened) > 1:
            later = opened[-1]["facts"]
            later["starts_at"] = opened[-2]["facts"]["starts_at"]
            bundle.chains[later["period"]][0]["facts"]["starts_at"] = later["starts_at"]
            return True
    return False


@by(*LEVELS, codes="policy limit tree")
def a_period_with_a_wider_limit(bundle: Bundle, draw: Random) -> bool:
    """A period begins with another limit than its window has."""
    place = _pick(draw, [each for each in bundle.of("opened") if bundle.kind(each[0]) == "period"])
    if place is None:
        return False
    limit = bundle.at(place)["facts"]["policy"]["limit"]
    limit["epsilon"] = str(float(limit["epsilon"]) * 2)
    return True


@by(*LEVELS, codes="path")
def a_reservation_missing_in_its_period(bundle: Bundle, draw: Random) -> bool:
    """A reservation and its end are gone from one of several periods, or from the only one.

    It came well after its window: before that nothing but a clock tells which of the two was first.
    """
    for place in draw.sample(bundle.of("reserved"), len(bundle.of("reserved"))):
        if bundle.kind(place[0]) != "period":
            continue
        gone = bundle.at(place)["reservation"]
        window = bundle.chains[bundle.chains[place[0]][0]["facts"]["parent"]][0]
        above = bundle.chains[window["facts"]["parent"]]
        made = next(each["at"] for each in above if each["reservation"] == gone)
        if datetime.fromisoformat(made) > datetime.fromisoformat(window["at"]) + SLACK:
            chain = bundle.chains[place[0]]
            chain[:] = [each for each in chain if each["reservation"] != gone]
            return True
    return False


# --- signatures


def _last(bundle: Bundle) -> Document | None:
    return bundle.checkpoints[-1] if bundle.checkpoints else None


@by("as it is")
def a_signature_changed(bundle: Bundle, draw: Random) -> bool:
    """One bit of a signature."""
    each = draw.choice(bundle.checkpoints)
    raw = bytearray(base64.b64decode(each["signature"]))
    raw[draw.randrange(64)] ^= 1 << draw.randrange(8)
    each["signature"] = base64.b64encode(raw).decode()
    return True


@by("as it is")
def a_signature_replayed(bundle: Bundle, draw: Random) -> bool:
    """A checkpoint carries the signature of another one."""
    if len(bundle.checkpoints) < 2:
        return False
    one, other = draw.sample(bundle.checkpoints, 2)
    one["signature"] = other["signature"]
    return True


@by("as it is", "hashed")
def a_checkpoint_changed(bundle: Bundle, draw: Random) -> bool:
    """A field of a signed checkpoint, or one of its heads."""
    each = draw.choice(bundle.checkpoints)
    body = each["body"]
    kind = draw.choice(["at", "root", "count", "key", "prev", "head", "next_key", "seq"])
    if kind == "at":
        body["at"] = "2030-01-01T00:00:00.000000Z"
    elif kind == "root":
        body["heads"]["root"] = sha256(b"x").hexdigest()
    elif kind == "count":
        body["heads"]["count"] += 1
    elif kind == "head":
        head = draw.choice(each["heads"])
        head[draw.choice((1, 2))] = 1 if head[1] > 1 and draw.random() < 0.5 else "0" * 64
    elif kind == "next_key":
        body["next_key"] = base64.b64encode(raw_public(FOREIGN)).decode()
    elif kind == "seq":
        body["seq"] += 1
    else:
        body[kind] = sha256(b"y").hexdigest()
    return True


@by("as it is")
def a_checkpoint_removed_or_doubled(bundle: Bundle, draw: Random) -> bool:
    """One that is not the last is gone, or any is there twice."""
    at = draw.randrange(len(bundle.checkpoints))
    if draw.random() < 0.5:
        if at == len(bundle.checkpoints) - 1:
            return False
        del bundle.checkpoints[at]
    else:
        bundle.checkpoints.insert(at, copy.deepcopy(bundle.checkpoints[at]))
    return True


@by("as it is")
def all_checkpoints_removed(bundle: Bundle, draw: Random) -> bool:
    """Nothing is signed any more."""
    bundle.checkpoints.clear()
    return True


@by("foreign")
def another_key_for_all_signatures(bundle: Bundle, draw: Random) -> bool:
    """Nothing is changed but the key, everywhere."""
    return True


@by("as it is")
def entries_behind_the_last_checkpoint(bundle: Bundle, draw: Random) -> bool:
    """The last checkpoint is gone, and what it alone has signed is there."""
    if len(bundle.checkpoints) < 2:
        return False
    gone = bundle.checkpoints.pop()
    return bool(gone["heads"] != bundle.checkpoints[-1]["heads"])


@by("as it is")
def rolled_back_to_an_older_checkpoint(bundle: Bundle, draw: Random) -> bool:
    """The last checkpoints are gone, and all that came after the one before them.

    Each line of it is true: only who has seen a later checkpoint can tell.
    """
    if len(bundle.checkpoints) < 2:
        return False
    del bundle.checkpoints[draw.randrange(1, len(bundle.checkpoints)) :]
    ends = {head[0]: head[1] for head in bundle.checkpoints[-1]["heads"]}
    bundle.chains = {
        budget: chain[: ends[budget]] for budget, chain in bundle.chains.items() if budget in ends
    }
    return True


# --- bytes

WAYS: Final = (
    *("byte changed", "bit flipped", "byte removed", "byte added", "blank added", "cut"),
    *("cut at a line", "line removed", "line doubled", "lines swapped"),
)


def bytes_changed(raw: bytes, draw: Random) -> tuple[str, bytes]:
    """One change of the file itself: its name, and the file after it."""
    at = draw.randrange(len(raw))
    lines = raw.splitlines(keepends=True)
    one, other = draw.sample(range(len(lines)), 2)
    name = draw.choice(WAYS)
    if name == "byte changed":
        return name, raw[:at] + bytes([draw.randrange(256)]) + raw[at + 1 :]
    if name == "bit flipped":
        return name, raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1 :]
    if name == "byte removed":
        return name, raw[:at] + raw[at + 1 :]
    if name == "byte added":
        return name, raw[:at] + bytes([draw.randrange(256)]) + raw[at:]
    if name == "blank added":
        return name, raw[:at] + draw.choice((b" ", b"\n", b"\r", b"\t")) + raw[at:]
    if name == "cut":
        return name, raw[:at]
    if name == "cut at a line":
        return name, b"".join(lines[: max(1, one)])
    if name == "line removed":
        return name, b"".join(lines[:one] + lines[one + 1 :])
    if name == "line doubled":
        return name, b"".join(lines[: one + 1] + lines[one:])
    lines[one], lines[other] = lines[other], lines[one]
    return name, b"".join(lines)
