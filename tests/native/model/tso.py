"""An exhaustive model checker for a few threads under total store order.

Each processor has a store buffer: a store is seen by its own thread at once and by the others
some time later, in order. That is x86. Weaker machines reorder more; there the code's acquire
and release orders give back what this model takes for granted.

A thread is a list of instructions over registers of its own (a dict of integers):

    name:                        a label, a string that ends with a colon
    load(register, word)         store(word, value)         add(word, register)
    fence()                      its own buffer is empty
    barrier()                    all buffers are empty: what membarrier does
    wait(word, value)            sleeps if the word has that value, as a futex does
    wake(word)                   wakes who sleeps on it
    let(register, value)         jump(label, condition)
    ghost(change)                for the proof alone: changes the memory at once
    check(condition, text)       must hold

Values and conditions are functions of the registers (`check` and `ghost`: of registers and
memory) or plain integers. A word may be a function that gives its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Registers = dict[str, int]
Memory = dict[str, int]
Value = int | Callable[[Registers], int]
Word = str | Callable[[Registers], str]
Instruction = tuple[Any, ...]
Program = list[Instruction | str]


class ModelError(AssertionError):
    """A state that must not be; the text says which, and the way there."""


def load(register: str, word: Word) -> Instruction:
    """Load a word, from the own buffer if it is there."""
    return ("load", register, word)


def store(word: Word, value: Value) -> Instruction:
    """Put a store into the own buffer."""
    return ("store", word, value)


def add(word: Word, register: str = "old") -> Instruction:
    """Add one to a word at once, with an empty buffer; the register gets the old value."""
    return ("add", word, register)


def fence() -> Instruction:
    """Wait until the own buffer is empty."""
    return ("fence",)


def barrier() -> Instruction:
    """Wait until all buffers are empty."""
    return ("barrier",)


def wait(word: Word, value: Value) -> Instruction:
    """Sleep on a word as long as it is not woken, if it has this value."""
    return ("wait", word, value)


def wake(word: Word) -> Instruction:
    """Wake all that sleep on a word."""
    return ("wake", word)


def let(register: str, value: Value) -> Instruction:
    """Set a register."""
    return ("let", register, value)


def jump(label: str, condition: Value = 1) -> Instruction:
    """Go to a label if the condition is not zero."""
    return ("jump", label, condition)


def ghost(change: Callable[[Registers, Memory], None]) -> Instruction:
    """Change the memory at once, outside of the machine."""
    return ("ghost", change)


def check(condition: Callable[[Registers, Memory], object], text: str) -> Instruction:
    """Demand a condition."""
    return ("check", condition, text)


def without(program: Program, *marks: str) -> Program:
    """Leave out the instructions behind a mark, which is a string that starts with a dash."""
    kept: Program = []
    skip = False
    for item in program:
        if isinstance(item, str) and item.startswith("-"):
            skip = item[1:] in marks
            continue
        if not skip:
            kept.append(item)
        skip = False
    return kept


# A thread: position, registers, buffer, and the word that it sleeps on.
Thread = tuple[int, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...], str]
State = tuple[tuple[tuple[str, int], ...], tuple[Thread, ...]]


class Machine:
    """Some threads and their memory."""

    def __init__(self, memory: Memory, *programs: Program) -> None:
        self.memory = memory
        self.programs: list[list[Instruction]] = []
        self.labels: list[dict[str, int]] = []
        for program in programs:
            code: list[Instruction] = []
            labels: dict[str, int] = {}
            for item in without(program):
                if isinstance(item, str):
                    labels[item.removesuffix(":")] = len(code)
                else:
                    code.append(item)
            self.programs.append(code)
            self.labels.append(labels)

    def explore(self, at_end: Callable[[Memory], object], most: int = 2_000_000) -> int:
        """Go through every state.

        Args:
            at_end: What must hold of the memory when no thread can go on.
            most: More states than these are too many for a test.

        Returns:
            The number of states.

        Raises:
            ModelError: Something does not hold, or a thread sleeps for ever.
        """
        first: State = (
            tuple(sorted(self.memory.items())),
            tuple((0, (), (), "") for _ in self.programs),
        )
        came_from: dict[State, tuple[State | None, str]] = {first: (None, "")}
        waiting = [first]
        while waiting:
            state = waiting.pop()
            stuck = True
            try:
                for what, after in self.steps(state):
                    stuck = False
                    if after not in came_from:
                        came_from[after] = (state, what)
                        waiting.append(after)
                if stuck:
                    self.judge_end(state, at_end)
            except ModelError as error:
                raise ModelError(f"{error}\n{trace(came_from, state)}") from None
            if len(came_from) > most:
                raise ModelError(f"more than {most} states")
        return len(came_from)

    def judge_end(self, state: State, at_end: Callable[[Memory], object]) -> None:
        """Look at a state in which nobody can go on."""
        memory, threads = state
        for number, (position, _, _, asleep) in enumerate(threads):
            if position < len(self.programs[number]):
                raise ModelError(f"thread {number} sleeps for ever on {asleep or 'nothing'}")
        if not at_end(dict(memory)):
            raise ModelError(f"a wrong end: {dict(memory)}")

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """All that may happen next."""
        memory, threads = state
        for number, thread in enumerate(threads):
            position, registers, buffer, asleep = thread
            if buffer:
                drained = dict(memory)
                word, value = buffer[0]
                drained[word] = value
                moved = (position, registers, buffer[1:], asleep)
                yield (
                    f"{number}: {word} = {value} is seen",
                    (tuple(sorted(drained.items())), replaced(threads, number, moved)),
                )
            if asleep or position == len(self.programs[number]):
                continue
            yield from self.step(state, number)

    def step(self, state: State, number: int) -> Iterator[tuple[str, State]]:
        """One instruction of one thread, if it can be done now."""
        frozen, threads = state
        position, frozen_registers, buffer, asleep = threads[number]
        memory = dict(frozen)
        registers = dict(frozen_registers)
        operation, *operands = self.programs[number][position]
        if operation in ("fence", "add", "wait") and buffer:
            return
        if operation == "barrier" and any(other[2] for other in threads):
            return
        what = operation
        match operation:
            case "load":
                word = called(operands[1], registers)
                own = [value for name, value in buffer if name == word]
                registers[operands[0]] = own[-1] if own else memory[word]
                what = f"{operands[0]} = {word} ({registers[operands[0]]})"
            case "store":
                word = called(operands[0], registers)
                buffer = (*buffer, (word, valued(operands[1], registers)))
                what = f"store {buffer[-1]}"
            case "add":
                word = called(operands[0], registers)
                registers[operands[1]] = memory[word]
                memory[word] += 1
            case "wait":
                word = called(operands[0], registers)
                asleep = word if memory[word] == valued(operands[1], registers) else ""
                what = f"wait: {asleep or 'no'}"
            case "wake":
                word = called(operands[0], registers)
                threads = tuple((*t[:3], "" if t[3] == word else t[3]) for t in threads)
        position = self.think(number, position, registers, memory)
        moved = (position, tuple(sorted(registers.items())), buffer, asleep)
        after = (tuple(sorted(memory.items())), replaced(threads, number, moved))
        yield f"{number}: {what}", after

    def think(self, number: int, position: int, registers: Registers, memory: Memory) -> int:
        """Do what is no business of the memory's order; return the next position."""
        operation, *operands = self.programs[number][position]
        match operation:
            case "let":
                registers[operands[0]] = valued(operands[1], registers)
            case "jump":
                if valued(operands[1], registers):
                    return self.labels[number][operands[0]]
            case "ghost":
                operands[0](registers, memory)
            case "check":
                if not operands[0](registers, memory):
                    raise ModelError(f"thread {number}: {operands[1]}; {registers}, {memory}")
        return position + 1


def valued(value: Value, registers: Registers) -> int:
    """What a value is, given the registers."""
    return value if isinstance(value, int) else int(value(registers))


def called(word: Word, registers: Registers) -> str:
    """Which word is meant, given the registers."""
    return word if isinstance(word, str) else word(registers)


def replaced(threads: tuple[Thread, ...], number: int, thread: Thread) -> tuple[Thread, ...]:
    """Put a thread in the place of another."""
    return (*threads[:number], thread, *threads[number + 1 :])


def trace(came_from: dict[State, tuple[State | None, str]], state: State | None) -> str:
    """The steps that led to a state, without those that only move on."""
    lines: list[str] = []
    while state is not None:
        state, what = came_from[state]
        lines.append(what)
    boring = ("jump", "let", "")
    return "\n".join(line for line in reversed(lines) if line.split(": ")[-1] not in boring)
