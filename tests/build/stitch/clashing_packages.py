"""Random packages whose modules have few names for many things: variables, functions, classes, imports, builtins."""

import random

NAMES = ["value", "make", "Thing", "np", "_hidden", "max", "__version__"]
OUTSIDE = {  # bound name → ways to import it, each with an expression
    "np": [("import json as np", "np.dumps([1])"), ("import math as np", "np.floor(2.5)")],
    "value": [("from os.path import join as value", "value('a', 'b')"), ("from math import e as value", "value")],
    "max": [("from math import pow as max", "max(2, 3)")],
    "Thing": [
        ("from decimal import Decimal as Thing", "Thing(1)"),
        ("from fractions import Fraction as Thing", "Thing(1)"),
    ],
}


def clashing_package(choice: random.Random) -> dict[str, str]:
    """Return the files of a package of two to four modules and a script."""
    count = choice.randint(2, 4)
    nested = [choice.random() < 0.3 for _ in range(count)]
    modules = [f"pkg.sub.m{index}" if nested[index] else f"pkg.m{index}" for index in range(count)]
    files = {"pkg/__init__.py": "", "pkg/sub/__init__.py": ""}
    postponed = choice.random() < 0.2
    bound: list[dict[str, str]] = []  # of each module: name → an expression that reads it
    for index, module in enumerate([*modules, "main"]):
        writer = _Module(choice, index, module, modules, bound, postponed)
        files[f"{module.replace('.', '/')}.py"] = writer.text()
        bound.append({name: read for name, read in writer.bound.items() if name not in writer.changing})
    if choice.random() < 0.4 and bound[0]:
        name = choice.choice(sorted(bound[0]))
        files["pkg/__init__.py"] = f"from {modules[0]} import {name}\n"
        files["main.py"] += f"import pkg\nprint(f'{{pkg.{bound[0][name]}}}')\n" if "(" not in bound[0][name] else ""
    return files


class _Module:
    def __init__(self, choice, index, name, modules, before, postponed) -> None:
        self.choice, self.index, self.name = choice, index, name
        self.modules, self.before, self.postponed = modules, before, postponed
        self.bound: dict[str, str] = {}
        self.changing: set[str] = set()  # names that a function sets, which nobody may import by value
        self.reads: list[str] = []  # expressions that tell what this module sees

    def text(self) -> str:
        """Imports, definitions, and a function that shows what every name means here."""
        choice = self.choice
        imports = ["from __future__ import annotations"] if self.postponed else []
        imports += ["import functools"]
        for name in choice.sample(sorted(OUTSIDE), choice.randint(0, 2)):
            line, read = choice.choice(OUTSIDE[name])
            imports.append(line)
            self.bound[name] = read
        ours = [line for other in range(min(self.index, len(self.modules))) for line in self.imported(other)]
        head: list[str] = []
        for name in choice.sample(NAMES, choice.randint(1, 5)):
            if name not in self.bound:
                head += self.defined(name)
        body: list[str] = []
        self.reads += list(self.bound.values())
        for name, read in sorted(self.bound.items()):
            self.reads += [one for one in self.mentions(name, read) if choice.random() < 0.4]
        if self.bound.get("max", "max(2, 3)") == "max(2, 3)":
            self.reads.append("max(4, 5)")
        body += self.in_classes()
        body += [f"def show{self.index}():", f"    return [{', '.join(self.reads)}]"]
        body += [f"SEEN{self.index} = [{', '.join(self.reads)}]", f"print('m{self.index}', SEEN{self.index})"]
        if self.name == "main":
            body += [
                f"print({', '.join(f'pkg_show{index}()' for index in range(len(self.modules)))}, show{self.index}())"
            ]
            ours += [f"from {one} import show{number} as pkg_show{number}" for number, one in enumerate(self.modules)]
        if choice.random() < 0.3:  # imports below code that does something
            return "\n".join([*imports, "", *head, f"print('early {self.index}')", *ours, *body, ""])
        return "\n".join([*imports, *ours, "", *head, *body, ""])

    def imported(self, other: int) -> list[str]:
        module, there = self.modules[other], self.before[other]
        parent, _, leaf = module.rpartition(".")
        form = self.choice.choice(["from", "as", "module", "package", "none"])
        if not there or form == "none":
            return []
        name = self.choice.choice(sorted(there))
        if form == "from" and name not in self.bound:
            self.bound[name] = there[name]
            return [f"from {module} import {name}"]
        if form == "as":
            alias = self.choice.choice(NAMES)
            if alias not in self.bound and there[name].startswith(name):
                self.bound[alias] = alias + there[name].removeprefix(name)
                return [f"from {module} import {name} as {alias}"]
            return []
        if not there[name].startswith(name):
            return []
        self.reads.append(f"mod{other}.{there[name]}")
        if form == "module":
            return [f"import {module} as mod{other}"]
        return [f"from {parent} import {leaf} as mod{other}"]

    def defined(self, name: str) -> list[str]:
        kind = self.choice.choice(["value", "function", "class", "changed", "loop", "wrapped"])
        mark = f"'{name} of m{self.index}'"
        self.bound[name] = name
        if kind == "value":
            return [f"{name}: list = [{mark}]"]
        if kind == "changed":
            self.changing.add(name)
            change = f"change{self.index}{name}"
            head, body = f"def {change}(by: int = 1):", f"    global {name}\n    {name} += by\n    return {name}"
            return [f"{name} = 1", head, body, f"{change}()"]
        if kind == "loop":
            return [
                f"for {name} in ({mark}, 2):",
                "    pass",
                f"else:\n    {name} = [{name}, [{name} for {name} in 'ab']]",
            ]
        if kind == "wrapped" and name == "max":
            self.bound[name] = f"{name}(1, 2)"
            return [f"{name} = functools.partial({name}, {self.index})"]
        self.bound[name] = f"{name}({self.index})"
        if kind == "class":
            self.bound[name] = f"{name}({self.index}).get()"
            annotation = "" if name == "__version__" else f' -> "{name}"'
            return [f"class {name}:", "    __size = 7", "    def __init__(self, x=0):", "        self.x = x",
                    f"    def same(self, {name}=3){annotation}:", "        return self",
                    f"    def get(self):\n        return self.x, self.__size, type(self).__name__, {mark}"]  # fmt: skip
        return [f"def {name}(x: int = 1, *, {name if name != '__version__' else 'y'}_=None):", f"    '''{name}'''",
                f"    return x, {mark}, {name}.__qualname__, x and {name}(0)"]  # fmt: skip

    def mentions(self, name: str, read: str) -> list[str]:
        plain = [f"f'{name} {{{name}!r:.3}}'"] if read == name else []
        return [
            *plain,
            f"[{name} for {name} in 'ab']",
            f"(lambda {name}: {name})(5)",
            f"dict({name}={read})",
            f'f"{{{read}}} {{[{name} for {name} in (1, 2)]}}"',
            f"[{read} for _x in (1,)]",
        ]

    def in_classes(self) -> list[str]:
        """Classes that read a name of the module and give it to one of their own."""
        lines = []
        for name, read in sorted(self.bound.items()):
            if self.choice.random() < 0.3 and not name.startswith("_"):
                lines += [f"class In{self.index}{name}:", f"    {name} = {read}"]
                self.reads.append(f"In{self.index}{name}.{name}")
        return lines
