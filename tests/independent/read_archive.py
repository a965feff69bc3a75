#!/usr/bin/env python3
"""Proves an archive of remand whole, by the manual page alone.

    read_archive.py ARCHIVE...

Written from remand-archive(5) and the specifications that it names, with nothing of remand's own code and nothing but Python's standard
library; BLAKE3 is here because that has none. zstd is undone by zstd(1). It reads a .tar, .tar.gz, .tar.zst or a directory,
compares every digest, every header with its line, and the seal, and prints one line for each archive.

Exit status: 0 if all are whole, 1 if one is not, 2 if one cannot be read.
"""
import base64
import functools
import json
import os
import re
import stat
import struct
import subprocess
import sys
import zlib


class Damaged(Exception):
    """The archive is not what the manual page says."""


# --- BLAKE3, from the specification -----------------------------------------------------------------------------------

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF


def compress_source():
    """The compression with all rounds written out, which Python runs several times as fast as loops over lists."""
    lines = ["def compress(value, words, counter, length, flags):",
             " " + ", ".join(f"s{at}" for at in range(8)) + " = value",
             " s8, s9, s10, s11 = IV[:4]",
             " s12, s13, s14, s15 = counter & MASK, counter >> 32, length, flags",
             " " + ", ".join(f"w{at}" for at in range(16)) + " = words"]
    order = list(range(16))
    for _ in range(7):
        for half, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            for word, turn_d, turn_b in ((order[2 * half], 16, 12), (order[2 * half + 1], 8, 7)):
                lines += [f" s{a} = (s{a} + s{b} + w{word}) & MASK", f" m = s{d} ^ s{a}",
                          f" s{d} = (m >> {turn_d} | m << {32 - turn_d}) & MASK",
                          f" s{c} = (s{c} + s{d}) & MASK", f" m = s{b} ^ s{c}",
                          f" s{b} = (m >> {turn_b} | m << {32 - turn_b}) & MASK"]
        order = [order[at] for at in PERMUTATION]
    lines.append(" return " + ", ".join(f"s{at} ^ s{at + 8}" for at in range(8)))
    return "\n".join(lines)


exec(compress_source())


def words_of(block):
    return struct.unpack("<16I", block.ljust(64, b"\0"))


def chunk_node(data, number):
    """The last compression of a chunk, not yet done."""
    value = IV
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    for at, block in enumerate(blocks):
        flags = (CHUNK_START if at == 0 else 0) | (CHUNK_END if at == len(blocks) - 1 else 0)
        node = (value, words_of(block), number, len(block), flags)
        if at < len(blocks) - 1:
            value = compress(*node)
    return node


def tree_node(data, first):
    """The node over some chunks: the left part has the greatest power of two of them that leaves something to the right."""
    count = max(1, -(-len(data) // 1024))
    if count == 1:
        return chunk_node(data, first)
    left = 1 << ((count - 1).bit_length() - 1)
    parts = tree_node(data[:left * 1024], first), tree_node(data[left * 1024:], first + left)
    words = [word for part in parts for word in compress(*part)]
    return (IV, words, 0, 64, PARENT)


# Archives of one tree hold the same again and again, and so do copies of one with a bit flipped.
@functools.lru_cache(maxsize=None)
def blake3(data):
    value, words, counter, length, flags = tree_node(data, 0)
    root = compress(value, words, counter, length, flags | ROOT)
    return "blake3:" + struct.pack("<8I", *root).hex()


def self_test():
    known = {
        b"": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        b"abc": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    }
    for data, digest in known.items():
        assert blake3(data) == "blake3:" + digest


# --- Compression ------------------------------------------------------------------------------------------------------


def gunzip(data):
    """All members, and for each the place, the length, and what it inflates to; also the subfields of its extra field."""
    members, at = [], 0
    while at < len(data):
        if data[at:at + 3] != b"\x1f\x8b\x08":
            raise Damaged(f"no gzip member begins at byte {at}")
        flags, body, fields = data[at + 3], at + 10, {}
        if flags & ~4:
            raise Damaged(f"the gzip member at byte {at} has unknown flags")
        if flags & 4:
            end = body + 2 + int.from_bytes(data[body:body + 2], "little")
            body += 2
            while body < end:
                length = int.from_bytes(data[body + 2:body + 4], "little")
                fields[data[body:body + 2]] = data[body + 4:body + 4 + length]
                body += 4 + length
        if b"RM" in fields and data[at + 4:at + 10] != b"\0\0\0\0\0\x03":
            raise Damaged(f"the gzip member at byte {at} has a header that remand does not write")
        inflate = zlib.decompressobj(-15)
        try:
            plain = inflate.decompress(data[body:]) + inflate.flush()
        except zlib.error as error:
            raise Damaged(f"the gzip member at byte {at} cannot be inflated: {error}") from None
        trailer = inflate.unused_data[:8]
        expected = struct.pack("<II", zlib.crc32(plain), len(plain) & MASK)
        if not inflate.eof or trailer != expected:
            raise Damaged(f"the gzip member at byte {at} has another checksum or length")
        length = len(data) - at - len(inflate.unused_data) + 8
        if b"RM" in fields and int.from_bytes(fields[b"RM"], "little") != length:
            raise Damaged(f"the gzip member at byte {at} says that it has another length")
        members.append((at, length, plain, fields))
        at += length
    return members


def zstd_frames(data):
    """Of remand's own frames: the place, the length, and the content of each, with None for skippable ones and their data."""
    frames, at = [], 0
    while at < len(data):
        magic = data[at:at + 4]
        if magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50:
            length = 8 + int.from_bytes(data[at + 4:at + 8], "little")
            frames.append((at, length, None, data[at + 8:at + length]))
        elif magic == b"\x28\xb5\x2f\xfd":
            length = zstd_length(data, at)
            frames.append((at, length, unzstd(data[at:at + length]), b""))
        else:
            raise Damaged(f"no zstd frame begins at byte {at}")
        if at + length > len(data):
            raise Damaged("the last zstd frame is cut")
        at += length
    return frames


def zstd_length(data, start):
    """Length of a frame: its header, blocks, and checksum (RFC 8878, 3.1.1)."""
    descriptor = data[start + 4]
    single = descriptor >> 5 & 1
    at = start + 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    at += (single, 2, 4, 8)[descriptor >> 6]
    while True:
        header = int.from_bytes(data[at:at + 3], "little")
        kind, size = header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else size)
        if header & 1 or at > len(data):
            return at - start + (4 if descriptor & 4 else 0)


def unzstd(data):
    done = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=False)
    if done.returncode:
        raise Damaged("a zstd frame cannot be undone: " + done.stderr.decode(errors="replace").strip())
    return done.stdout


def number(data):
    """Numbers of a table: seven bits a byte, the lowest first."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(value)
            value = shift = 0
    return numbers


class Table:
    """The table of offsets."""

    def __init__(self, chunks, parts, end, table_at):
        magic, at, self.index_at, count = end[:8], *struct.unpack("<3Q", end[8:32])
        if magic != b"remandT\x01" or at != table_at:
            raise Damaged("the end of the table of offsets is wrong")
        if blake3(parts + end[:32])[7:] != end[32:].hex():
            raise Damaged("the table of offsets has another digest")
        numbers, self.headers, plain_at, line = iter(number(parts)), [], 0, 0
        for length, plain_length in chunks:
            if (next(numbers, None), next(numbers, None)) != (length, plain_length):
                raise Damaged("the table of offsets tells other lengths")
            place = next(numbers, 0)
            if place:
                line += next(numbers, 0)
                self.headers.append((plain_at, plain_at + place - 1, line))
            else:
                self.headers.append((plain_at, None, None))
            plain_at += plain_length
        if count != len(chunks) or next(numbers, None) is not None:
            raise Damaged("the table of offsets has another number of chunks")

    def check(self, headers, index_at):
        """`headers` are places in the tar stream with the numbers of members."""
        if self.index_at != index_at:
            raise Damaged("the table of offsets has the index elsewhere")
        ends = [begin for begin, _, _ in self.headers[1:]] + [float("inf")]
        for (begin, at, line), end in zip(self.headers, ends):
            first = next(((place, told) for place, told in headers if begin <= place < end), (None, None))
            if first != (at, line):
                raise Damaged("the table of offsets has a member elsewhere")


def decompress(data):
    """The tar stream, and the table of offsets where there is one."""
    if data[:2] == b"\x1f\x8b":
        members = gunzip(data)
        tables = [(at, fields) for at, _, plain, fields in members if fields.get(b"RT") or b"RE" in fields]
        announced = b"RT" in members[0][3]
        rest = [member for member in members if not (member[3].get(b"RT") or b"RE" in member[3])]
        parts = b"".join(fields.get(b"RT", b"") for _, fields in tables)
        ends = [fields[b"RE"] for _, fields in tables if b"RE" in fields]
        chunks = [(length, len(plain)) for _, length, plain, _ in rest]
        stream = b"".join(plain for _, _, plain, _ in rest)
        in_order = tables == [] or tables[0][0] > rest[-1][0]
        table_at = tables[0][0] if tables else None
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        frames = zstd_frames(data)
        announced = any(rest == b"RMTA" for _, _, _, rest in frames[:2])
        tables = [(at, rest) for at, _, _, rest in frames if rest[:4] in (b"RMTP", b"RMTE")]
        parts = b"".join(rest[4:] for _, rest in tables if rest[:4] == b"RMTP")
        ends = [rest[4:] for _, rest in tables if rest[:4] == b"RMTE"]
        chunks = [[length, len(plain)] for _, length, plain, _ in frames if plain is not None]
        if announced:
            chunks[0][0] += 12
        chunks = [tuple(chunk) for chunk in chunks]
        stream = b"".join(plain for _, _, plain, _ in frames if plain is not None)
        last = max(at for at, _, plain, _ in frames if plain is not None)
        in_order = tables == [] or tables[0][0] > last
        table_at = tables[0][0] if tables else None
    else:
        return data, None
    if announced != bool(ends) or len(ends) > 1 or not in_order:
        raise Damaged("the table of offsets is not where it was announced")
    return stream, Table(chunks, parts, ends[0], table_at) if ends else None


# --- TAR --------------------------------------------------------------------------------------------------------------

TYPES = {b"0": "file", b"\0": "file", b"1": "link", b"2": "symlink", b"3": "char", b"4": "block", b"5": "directory", b"6": "fifo"}


def octal(field):
    text = field.rstrip(b"\0 ")
    if not re.fullmatch(rb"[0-7]*", text):
        raise Damaged("a field of a header is no octal number")
    return int(text or b"0", 8)


def pax_records(data):
    records = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(data):
            raise Damaged("a pax record has a wrong length")
        record, data = data[len(length) + 1:int(length)], data[int(length):]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or key in records:
            raise Damaged("a pax record is wrong")
        records[key] = value[:-1]
    return records


def sparse_content(data, size):
    """Content of a sparse member: the map, whole blocks, then the data."""
    at = 0

    def line():
        nonlocal at
        end = data.index(b"\n", at)
        value, at = int(data[at:end]), end + 1
        return value

    runs = [(line(), line()) for _ in range(line())]
    at += -at % 512
    content = bytearray(size)
    last = 0
    for offset, length in runs:
        if offset < last or offset + length > size:
            raise Damaged("the runs of a sparse map overlap")
        content[offset:offset + length] = data[at:at + length]
        at, last = at + length, offset + length
    if at != len(data):
        raise Damaged("a sparse map does not go with its data")
    return bytes(content)


def text(value):
    """Bytes as the fields of a line have them."""
    try:
        return ("", value.decode())
    except UnicodeDecodeError:
        return ("_b64", base64.b64encode(value).decode())


def seconds(value):
    """A time in the form of the index."""
    sign, digits = ("-", value[1:]) if value.startswith("-") else ("", value)
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0")
    return sign + (whole.lstrip("0") or "0") + ("." + fraction if fraction else "")


def put(line, key, value):
    suffix, value = text(value)
    line[key + suffix] = value


def line_of(header, records, data):
    """What a member's header tells, in the form of its line."""
    get = lambda key: records.get(key.encode())
    kind = TYPES.get(header[156:157])
    if kind is None:
        raise Damaged("a member has a type that is not used")
    name, prefix = header[:100].rstrip(b"\0"), header[345:500].rstrip(b"\0")
    name = get("GNU.sparse.name") or get("path") or (prefix + b"/" + name if prefix else name)
    target = get("linkpath") or header[157:257].rstrip(b"\0")
    line = {}
    put(line, "path", name.rstrip(b"/") if kind == "directory" else name)
    line["mode"] = format(octal(header[100:108]), "04o")
    line["uid"] = int(get("uid") or octal(header[108:116]))
    line["gid"] = int(get("gid") or octal(header[116:124]))
    line["mtime"] = seconds((get("mtime") or str(octal(header[136:148])).encode()).decode())
    comment = get("comment") or b""
    if comment.startswith(b"REMAND.shared="):
        line["shared"] = [int(number) for number in comment[14:].split(b",")]
    if kind == "link":
        line["role"] = "link"
        put(line, "link", target)
        return line
    line["type"] = kind
    if kind == "symlink":
        put(line, "target", target)
    if kind in ("char", "block"):
        line["device"] = {
            "major": int(get("SCHILY.devmajor") or octal(header[329:337])),
            "minor": int(get("SCHILY.devminor") or octal(header[337:345])),
        }
    for key, value in records.items():
        if key.startswith(b"SCHILY.xattr."):
            xattr = re.sub(rb"%(25|3D)", lambda found: b"%" if found[1] == b"25" else b"=", key[13:])
            suffix, xattr = text(xattr)
            line.setdefault("xattrs" + suffix, {})[xattr] = base64.b64encode(value).decode()
    for key, field in (("access", "access"), ("default", "default"), ("nfs4", "ace")):
        acl = get("SCHILY.acl." + field)
        if acl is not None:
            line.setdefault("acl", {})[key] = acl.decode()
    if get("SCHILY.fflags"):
        line["flags"] = get("SCHILY.fflags").decode()
    if kind == "file":
        if get("GNU.sparse.major"):
            data = sparse_content(data, int(get("GNU.sparse.realsize")))
        line["size"] = len(data)
        line["digest"] = blake3(data)
    return line


def tar_members(tar):
    """Place, number of the attempt, bytes and line of each member."""
    at = 0
    while True:
        began_at, records = at, None
        while True:
            header = tar[at:at + 512]
            if len(header) < 512:
                raise Damaged("it ends in the middle")
            if not any(header):
                if records is not None or any(tar[at:]) or len(tar) - at < 1024:
                    raise Damaged("its end is not two blocks of zeros and nothing else")
                return
            told = octal(header[148:156])
            if told != sum(header) - sum(header[148:156]) + 8 * 32 or header[257:262] != b"ustar":
                raise Damaged(f"the header at byte {at} has another checksum")
            size = int((records or {}).get(b"size") or octal(header[124:136]))
            data = tar[at + 512:at + 512 + size]
            end = at + 512 + size + -size % 512
            if len(data) < size or any(tar[at + 512 + size:end]):
                raise Damaged("the last block of a member is not filled with zeros")
            at = end
            if header[156:157] != b"x":
                break
            if records is not None:
                raise Damaged("a member has two headers of records")
            records = pax_records(data)
        records = records or {}
        yield began_at, int(records.get(b"REMAND.attempt", b"1")), data, line_of(header, records, data)


def read_tar(data):
    """The manifest, the index, and the line of each member as its header tells."""
    tar, table = decompress(data)
    manifest, index, lines, headers, index_at = None, None, [], [], None
    for at, attempt, content, line in tar_members(tar):
        path = line.get("path")
        if index is not None:
            if path != "./seal.minisig":
                raise Damaged("there are members after the index")
            continue
        if manifest is None:
            if path != "./manifest.json":
                raise Damaged("it does not begin with a manifest")
            manifest = content
            continue
        if attempt > 1:
            if not lines or lines[-1].get("path") != path:
                raise Damaged("a repeated member does not follow the first")
            lines.pop()
        headers.append((at, len(lines)))
        if path == "./index.jsonl":
            index, index_at = content, at
            continue
        lines.append(line)
    if index is None:
        raise Damaged("it has no index")
    if table:
        table.check(headers, index_at)
    return manifest, index, lines


# --- DIRECTORY --------------------------------------------------------------------------------------------------------

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo", stat.S_IFCHR: "char", stat.S_IFBLK: "block"}


def read_directory(path):
    root = os.fsencode(path)
    with open(os.path.join(root, b"manifest.json"), "rb") as file:
        manifest = file.read()
    with open(os.path.join(root, b"index.jsonl"), "rb") as file:
        index = file.read()
    return manifest, index


def check_directory(path, lines):
    root = os.fsencode(path)
    known = {b"manifest.json", b"index.jsonl", b"seal.minisig"}
    for line in lines:
        name = get_text(line, "path")[2:]
        parts = name.split(b"/")
        known.update(b"/".join(parts[:length]) for length in range(1, len(parts) + 1) if line.get("role") != "deleted")
        if line.get("role") in ("link", "metadata", "unarchived", "deleted"):
            continue
        place = os.path.join(root, name)
        try:
            found = os.lstat(place)
        except FileNotFoundError:
            if line["type"] == "file":
                raise Damaged(f"{name!r} is missing") from None
            continue
        if KINDS.get(stat.S_IFMT(found.st_mode)) != line["type"]:
            raise Damaged(f"{name!r} is of another type")
        if line["type"] == "file":
            with open(place, "rb") as file:
                content = file.read()
            if (len(content), blake3(content)) != (line["size"], line["digest"]):
                raise Damaged(f"{name!r} has other content")
    for directory, below, files in os.walk(root):
        for name in below + files:
            place = os.path.relpath(os.path.join(directory, name), root)
            if place not in known:
                raise Damaged(f"nothing tells of {place!r}")


# --- Index ------------------------------------------------------------------------------------------------------------


def get_text(line, key):
    if key in line:
        return line[key].encode()
    return base64.b64decode(line[key + "_b64"], validate=True)


def check_manifest(data):
    try:
        manifest = json.loads(data)
        version = manifest["version"]["major"]
    except (ValueError, KeyError, TypeError):
        raise Damaged("its manifest cannot be understood") from None
    # What a template is does not matter to a tree.
    unknown = set(manifest.get("requires", [])) - {"templates"}
    if manifest["format"] != "remand-archive" or version > 1 or unknown:
        raise Damaged("it is of another format, or a newer version")
    if not manifest["resources"]:
        raise Damaged("its manifest has no resources")
    return manifest


def check_index(manifest, index):
    """Its lines, after the seal was found right."""
    if not index.endswith(b"\n"):
        raise Damaged("the last line of its index has no end")
    try:
        lines = [json.loads(line) for line in index[:-1].split(b"\n")]
    except ValueError:
        raise Damaged("a line of its index is no JSON") from None
    seal = lines.pop().get("seal")
    if seal is None:
        raise Damaged("it has no seal")
    last = index[:-1].rfind(b"\n") + 1
    if blake3(manifest + index[:last]) != seal["digest"]:
        raise Damaged("its seal has another digest")
    lines = [line for line in lines if "failed" not in line]
    members = [line for line in lines if line.get("role") in (None, "link")]
    content = sum(line["size"] for line in members if line["type"] == "file" and "role" not in line)
    if (seal["entries"], seal["members"], seal["bytes"]) != (len(lines), len(members), content):
        raise Damaged("its seal counts other entries")
    names = set()
    for line in lines:
        name = get_text(line, "path")
        if not name.startswith(b"./") or name in names or {b"", b".", b".."} & set(name[2:].split(b"/")):
            raise Damaged(f"{name!r} is no name of a member, or occurs twice")
        names.add(name)
    return lines, members


def in_header(line):
    """What a header repeats of a line."""
    link = line.get("role") == "link"
    kept = ("path", "role", "mode", "uid", "gid", "mtime", "link", "shared") if link else (
        "path", "type", "mode", "uid", "gid", "mtime", "size", "target", "device", "xattrs", "acl", "flags", "digest", "shared")
    return {key: value for key, value in line.items() if key.removesuffix("_b64") in kept}


def check(path):
    if os.path.isdir(path):
        manifest, index = read_directory(path)
        check_manifest(manifest)
        lines, _ = check_index(manifest, index)
        check_directory(path, lines)
        return lines
    with open(path, "rb") as file:
        data = file.read()
    manifest, index, found = read_tar(data)
    check_manifest(manifest)
    lines, members = check_index(manifest, index)
    if len(found) != len(members):
        raise Damaged(f"it has {len(found)} members, and its index {len(members)}")
    for own, line in zip(found, members):
        if own != in_header(line):
            differ = sorted(key for key in {*own, *in_header(line)} if own.get(key) != in_header(line).get(key))
            raise Damaged(f"{line.get('path')} and its header differ in {', '.join(differ)}")
    return lines


def main():
    self_test()
    status = 0
    for path in sys.argv[1:]:
        try:
            print(f"{path}: whole, {len(check(path))} entries")
        except Damaged as error:
            print(f"{path}: damaged: {error}")
            status = max(status, 1)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
            print(f"{path}: damaged: it cannot be understood: {error!r}")
            status = max(status, 1)
        except OSError as error:
            print(f"{path}: {error}")
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main())
