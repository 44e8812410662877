"""Commands: a function is the program, its parameters are the options.

``@command`` before the last function of a module makes a program of it, whose help is the module's docstring.

- A parameter before ``/`` has its place, ``*words`` is the rest of the line, and every other is an option:
  ``bad_scans`` is ``--bad-scans``. What has no default must be given.
- Annotations say how the text is read: a plain type by itself, ``bool`` is a switch, ``Literal`` a choice, a
  list or tuple of those several values; anything else is JSON of that form, as ``workflow.plan`` prints it.
- ``Annotated`` says more: the help, if not the docstring's ``Args`` do (of a dataclass ``Attributes``), the
  ``Choices``, ``SPREAD``, ``NAMES``, or a function that reads the text.
- A text or path that is empty is refused, as is an option for several values that has none: both are mostly a
  shell's variable that nobody set.

Made of argparse and not by a library that does the same: defopt, cyclopts, tyro and jsonargparse take 40 to
90 ms of each start, argparse takes 9, and a workflow starts its commands hundreds of times.
"""

import argparse
import inspect
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from data_prep.errors import Ended, run_command

Program = TypeVar("Program", bound=Callable[..., object])
# Marks a parameter that is a dataclass whose fields are options of their own.
SPREAD = object()
# Marks several names, which commas may separate as well as spaces.
NAMES = object()


class WrongUse(Exception):
    """Options that do not go together: ends with the usage, one sentence and exit status 2."""


@dataclass(frozen=True)
class Choices:
    """The values that an option may have; of ``**options``, their names.

    Attributes:
        known: returns them; asked when the command starts, and not when its module is imported.
    """

    known: Callable[[], Iterable[Any]]


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Prints what has its place first: an option that takes several words would take it for one of them."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        """Add the usage; another program's words stay last."""
        actions = list(actions)
        placed = [one for one in actions if not one.option_strings and one.nargs != argparse.REMAINDER]
        first = argparse.HelpFormatter(self._prog, width=1000)
        first.add_usage(usage, placed, [], prefix="")
        self._prog = first.format_help().strip()
        super().add_usage(usage, [one for one in actions if one not in placed], groups, prefix)


def command(function: Program) -> Program:
    """Run a function if its module is the program, see ``run_command`` for how it ends; leave it as it is.

    What schedulers and terminals end programs by ends it as an error does, after its clean-up: what it had
    begun to write is removed, such as a person's scan in the folder for temporary files.
    """
    if function.__module__ == "__main__":
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Not what is ignored, as by nohup.
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _leave)
        run_command(partial(call, function))
    return function


def _leave(number: int, _: object) -> None:
    # The clean-up is not to be ended by another one.
    signal.signal(number, signal.SIG_IGN)
    raise Ended(128 + number)


def call(function: Callable[..., object], words: Sequence[str] | None = None) -> None:
    """Call a function with what a command line says.

    Args:
        function: annotated, and its parameters documented.
        words: the command line; by default that of this process.

    Raises:
        SystemExit: help was asked for, or the use is wrong.
        BadInput: of an option that is JSON; and whatever the function raises.
    """
    module = inspect.unwrap(function).__globals__
    parser = argparse.ArgumentParser(
        prog=f"python -m {module['__spec__'].name.removesuffix('.__main__')}",
        description=module["__doc__"],
        formatter_class=_Formatter,
    )
    _add_options(parser, function)
    given = vars(parser.parse_args(words))
    bound = inspect.BoundArguments(inspect.signature(function), _taken(function, given))
    try:
        function(*bound.args, **bound.kwargs)
    except WrongUse as error:
        parser.error(str(error))


def exclusive(given: Mapping[str, object], *, needed: bool = False) -> None:
    """Refuse more than one of some options, and none if one is needed.

    Args:
        given: by name; None and False are not given.
        needed: whether one must be.

    Raises:
        WrongUse: it is otherwise.
    """
    names = [name for name, value in given.items() if value is not None and value is not False]
    if len(names) > 1:
        raise WrongUse(f"argument {names[1]}: not allowed with argument {names[0]}")
    if needed and not names:
        raise WrongUse(f"one of the arguments {' '.join(given)} is required")


def _parameters(function: Callable[..., object]) -> Iterator[tuple[inspect.Parameter, Any, list[Any]]]:
    """Yield each parameter, its type without None, and what annotates that."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, marks = hints[name], []
        while get_origin(kind) is Annotated or type(None) in get_args(kind):
            kind, *more = get_args(kind)
            marks += [mark for mark in more if mark is not type(None)]
        yield parameter, kind, marks


def _add_options(parser: argparse.ArgumentParser, function: Callable[..., object]) -> None:
    section = re.search(r"^(?:Args|Attributes):((?:\n .*|\n)+)", inspect.getdoc(function) or "", re.M)
    told = dict(re.findall(r"^ {4}(\w+): (.+(?:\n {5}.+)*)", section[1], re.M)) if section else {}
    for parameter, kind, marks in _parameters(function):
        if SPREAD in marks:
            _add_options(parser, kind)
            continue
        name, needed = parameter.name, parameter.default is parameter.empty
        options = _reading(name, kind, marks, needed)
        help = next((mark for mark in marks if isinstance(mark, str)), told.get(name)) or options.pop("help")
        options["help"] = " ".join(help.split()).rstrip(".").replace("%", "%%")
        if parameter.kind is parameter.VAR_POSITIONAL:
            # Another program's words, of which any may be empty.
            parser.add_argument(name, **options | {"type": str}, nargs=argparse.REMAINDER)
        elif parameter.kind is parameter.VAR_KEYWORD:
            for choice in options.pop("choices"):
                parser.add_argument(_option(choice), **options, default=argparse.SUPPRESS)
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            default = {} if needed else {"default": parameter.default, "nargs": options.get("nargs", "?")}
            parser.add_argument(name, **options | default)
        else:
            # A list that is given twice is added up: of "--mask a --mask b" none is lost.
            listed = {"action": "extend", "nargs": "+"} if "nargs" in options else {}
            # Without the default, which would be read, and may be a text that is empty.
            parser.add_argument(_option(name), **options | listed, required=needed)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _reading(name: str, kind: Any, marks: list[Any], needed: bool) -> dict[str, Any]:
    """Return what argparse is told of how text becomes a value."""
    for mark in marks:
        if isinstance(mark, Choices):
            return {"type": _given(kind), "choices": tuple(mark.known())}
        if callable(mark):
            return {"type": mark}
    if kind is bool:
        return {"action": "store_true"}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if kind in (str, int, float, Path):
        return {"type": _given(kind)}
    if get_origin(kind) in (list, tuple) and not is_dataclass(get_args(kind)[0]):
        one = get_args(kind)[0]
        each = _names(get_args(one)) if NAMES in marks else _reading(name, one, [], needed)
        return each | {"nargs": "+" if needed else "*"}
    # Imported here, because a lease begins every training and reads no JSON.
    from data_prep.io.json_files import from_json

    read = partial(from_json, kind, place=_option(name), remedy="give what workflow.plan makes")
    return {"type": read, "help": "JSON, as workflow.plan makes it"}


def _given(kind: Any) -> Any:
    """Return what reads a text or path that must not be empty; what reads a number as it is."""
    if kind not in (str, Path):
        return kind

    def read(text: str) -> Any:
        if not text.strip():
            raise argparse.ArgumentTypeError("is empty; give a value")
        return kind(text)

    return read


def _names(known: tuple[str, ...]) -> dict[str, Any]:
    """Return what argparse is told of names, known ones or any, of which a word may hold several."""

    def read(text: str) -> list[str]:
        names = [name for name in map(str.strip, text.split(",")) if name]
        if not names:
            raise argparse.ArgumentTypeError("names nothing; give names, separated by spaces or commas")
        # A list takes all words up to the next option.
        if paths := [name for name in names if "/" in name or name.endswith(".yaml")]:
            raise argparse.ArgumentTypeError(
                f"{paths[0]!r} is a path and no name; what a command reads goes before its options"
            )
        if wrong := [name for name in names if known and name not in known]:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {wrong[0]!r} (choose from {', '.join(map(repr, known))})"
            )
        return names

    return {"type": read} | ({"metavar": f"{{{','.join(known)}}}"} if known else {})


def _taken(function: Callable[..., object], given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given of a function's parameters, by name; ``given`` loses them."""
    taken = {}
    for parameter, kind, marks in _parameters(function):
        if SPREAD in marks:
            taken[parameter.name] = kind(**_taken(kind, given))
        elif parameter.kind is parameter.VAR_KEYWORD:
            taken[parameter.name] = given
        else:
            value = given.pop(parameter.name)
            value = parameter.default if value is None else value
            # An element of what was given is all names of a word.
            if NAMES in marks and value is not parameter.default:
                value = [name for word in value for name in word]
            taken[parameter.name] = tuple(value) if get_origin(kind) is tuple and value is not None else value
    return taken
