"""All mutants in one source: each is a branch that is taken where its number is the active one.

A mutant of an operator stands beside what it changes, `(if mutant::is(7) { a - b } else { a + b })`; that of a function is a return at
its head, and a match arm that is deleted has a guard. Where mutants are nested only the branch without a mutation holds further ones, so
that the source grows with the depth alone.
"""

import bisect
import re

import tree_sitter
import tree_sitter_rust

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))
OPERATIONS = {"binary_expression", "compound_assignment_expr", "unary_expression"}
# Around all that stands for a mutant, and around the mutation itself: what the compiler's messages are about.
MARK = re.compile(rb"/\*(<|>|\{|\})(\d+)\*/")


class Unfit(Exception):
    """A mutant that no branch can stand for."""


class Source:
    """One file of the sources, with its mutants."""

    def __init__(self, text, mutants):
        self.text = text
        self.root = PARSER.parse(text).root_node
        self.lines = [0]
        for line in text.split(b"\n"):
            self.lines.append(self.lines[-1] + len(line) + 1)
        # By the bytes of the node that it is about, the widest first.
        self.places = {}
        self.unfit = {}
        # Deleted arms, with where the match is that they are of.
        self.arms = {}
        for mutant in mutants:
            try:
                node, kind, mutation = self.place(mutant)
                self.places.setdefault((node.start_byte, -node.end_byte), (node, []))[1].append((mutant["number"], kind, mutation))
            except Unfit as error:
                self.unfit[mutant["number"]] = str(error)
        self.order = sorted(self.places)

    def offset(self, place):
        begin = self.lines[place["line"] - 1]
        line = self.text[begin:self.lines[place["line"]]].decode()
        return begin + len(line[:place["column"] - 1].encode())

    def line(self, mutant):
        """The line that a mutant is in."""
        number = mutant["span"]["start"]["line"]
        return self.text[self.lines[number - 1]:self.lines[number]].decode().strip()

    def place(self, mutant):
        """The node that a mutant is about, how it is changed, and by what text."""
        begin, end = (self.offset(mutant["span"][at]) for at in ("start", "end"))
        replacement = mutant["replacement"].encode()
        genre = mutant["genre"]
        node = self.root.descendant_for_byte_range(begin, begin + 1)

        def climb(*types):
            found = node
            while found is not None and found.type not in types:
                found = found.parent
            if found is None:
                raise Unfit(f"no {' or '.join(types)} around it")
            return found

        def whole(found):
            return self.text[found.start_byte:begin] + replacement + self.text[end:found.end_byte]

        if genre == "FnValue":
            body = climb("block")
            while body.parent.type != "function_item":
                body = body.parent
            returns = body.parent.child_by_field_name("return_type")
            if returns is not None and re.search(rb"\bimpl\b", self.text[returns.start_byte:returns.end_byte]):
                # Another type behind the same `impl`: alone, it can stand there.
                self.unfit[mutant["number"]] = "it returns another type"
                return body, "body", replacement
            return body, "return", replacement
        if genre in ("BinaryOperator", "UnaryOperator"):
            found = climb(*OPERATIONS, "let_chain")
            if found.type == "let_chain":
                raise Unfit("a chain of lets can only be joined by &&")
            mutation = whole(found)
            if replacement in (b"<", b"<<") and found.type == "binary_expression":
                # Behind a cast it would begin the arguments of a type.
                left = self.text[found.start_byte:begin]
                mutation = b"(%s) %s" % (left, mutation[len(left):])
            return found, "instead", mutation
        if genre == "MatchArm":
            arm = climb("match_arm")
            self.arms[mutant["number"]] = arm.parent.start_byte
            return arm.child_by_field_name("pattern"), "deleted", b""
        if genre == "MatchArmGuard":
            pattern = climb("match_pattern")
            guard = pattern.child_by_field_name("condition")
            if guard.type in ("let_chain", "let_condition"):
                if replacement != b"false":
                    raise Unfit("what the guard binds would be missing")
                return guard, "never", b"false"
            return guard, "instead", replacement
        if genre == "StructField":
            return climb("struct_expression"), "instead", whole(climb("struct_expression"))
        raise Unfit(f"mutants of the genre {genre} are unknown")

    def instrumented(self, left_out=frozenset(), alone=None):
        """The text with all mutants but those left out; `alone` is taken whatever is active."""
        return self.render(0, len(self.text), 0, left_out, alone)

    def render(self, begin, end, first, left_out, alone):
        """This part, with the mutants that begin at `first` of the order or later."""
        parts, here = [], begin
        index = max(first, bisect.bisect_left(self.order, (begin, -len(self.text) - 1)))
        while index < len(self.order) and self.order[index][0] < end:
            start, stop = self.order[index][0], -self.order[index][1]
            if start >= here and stop <= end:
                node, mutations = self.places[self.order[index]]
                parts += [self.text[here:start], self.branches(node, mutations, index, left_out, alone)]
                here = stop
            index += 1
        return b"".join([*parts, self.text[here:end]])

    def branches(self, node, mutations, index, left_out, alone):
        inner = self.render(node.start_byte, node.end_byte, index + 1, left_out, alone)
        for number, kind, mutation in reversed(mutations):
            if number in left_out or kind == "body" and number != alone:
                continue
            test = b"true" if number == alone else b"crate::mutant::is(%d)" % number
            mutation = b"/*{%d*/%s/*}%d*/" % (number, mutation, number)
            if kind == "return":
                inner = b"{ if %s { return %s; }\n%s }" % (test, mutation, inner)
            elif kind == "body":
                inner = b"{ %s }" % mutation
            elif kind == "instead":
                inner = b"(if %s { %s } else { %s })" % (test, mutation, inner)
            elif kind == "never":
                inner = b"!%s && %s" % (test, inner)
            elif kind == "deleted":
                inner = self.guarded(node, inner, test)
            inner = b"/*<%d*/%s/*>%d*/" % (number, inner, number)
        return inner

    @staticmethod
    def guarded(pattern, inner, test):
        """A pattern that nothing matches in the mutant. Its own guard is the last of what is in it."""
        guard = pattern.child_by_field_name("condition")
        if guard is None:
            return b"%s if !%s" % (inner, test)
        # `inner` may hold mutants of the guard, but none of the pattern before it.
        before = guard.start_byte - pattern.start_byte
        condition = inner[before:]
        if guard.type not in ("let_chain", "let_condition"):
            condition = b"(%s)" % condition
        return b"%s !%s && %s" % (inner[:before], test, condition)


def marked(text):
    """Where in an instrumented text which mutant is: (begin, end, number, whether it is the mutation itself)."""
    spans, opened = [], {}
    for mark in MARK.finditer(text):
        what, number = mark.group(1), int(mark.group(2))
        if what in b"<{":
            opened[what, number] = mark.start()
        elif what == b">":
            spans.append((opened.pop((b"<", number)), mark.end(), number, False))
        else:
            spans.append((opened.pop((b"{", number)), mark.end(), number, True))
    return spans


def deleted_together(source, spans, end):
    """The deleted arms of the match whose value ends here: one of them is missed where all may be deleted."""
    behind = [span for span in spans if span[0] >= end and span[2] in source.arms and not span[3]]
    if not behind:
        return []
    match = source.arms[min(behind)[2]]
    return [number for number, other in source.arms.items() if other == match]


def blamed(spans, begin, end):
    """The mutant that a message about these bytes is about, and whether it is about the mutation itself."""
    around = [span for span in spans if span[0] <= begin and end <= span[1]]
    if not around:
        # About more than it: the first within.
        around = [span for span in spans if begin <= span[0] and span[1] <= end and not span[3]]
    if not around:
        return None
    closest = min(around, key=lambda span: (span[1] - span[0], not span[3]))
    return closest[2], closest[3]
