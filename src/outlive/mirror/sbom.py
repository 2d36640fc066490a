"""Write down what each image and box is made of: one CycloneDX document each, a summary for people, and checksums.

The documents are made of the cache and the lock file alone: the same cache gives the same bytes.
"""

import collections
import json
import tarfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import fixup_id
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from outlive.base.errors import LabError
from outlive.mirror import contents
from outlive.mirror.build import boxes, images
from outlive.mirror.build.packages import PACKAGES
from outlive.mirror.contents import Deb, GoProgram, Licences, Module
from outlive.mirror.lock import EXTRAS, Debian, Lock, Mysql, load_extra
from outlive.mirror.store import Artefact, Record, Store, digest_file, write_atomically

NOASSERTION = "NOASSERTION"
"""What stands for a component's licence where its own papers name none; the name is SPDX's."""

SUMMARY = "summary.txt"
CHECKSUMS = "SHA256SUMS"
_SUFFIX = ".cdx.json"

_GO_REASON = "Go's build information names no licence"
_PAUSE_REASON = "compiled from one file of Kubernetes' module, which names no licence"
_STAND_IN_REASON = "written by this project in place of a module that can't be downloaded: see its LICENSE"
_C_LIBRARY = "what is linked in of it is the building host's; its version isn't recorded"


def write(store: Store, lock: Lock, folder: Path, wanted: Collection[str] = ()) -> list[Path]:
    """Write the documents of the artefacts `wanted`, or else of all, the summary and the checksums; give the files.

    Nothing is written before all of it is made. Raises LabError if something isn't built, is damaged or unknown, and if the
    folder can't be written.
    """
    there = artefacts(store)
    for name in wanted:
        if name not in there:
            raise LabError(f"{name!r} is no image or box of the mirror in {store.cache}: choose among {', '.join(there)}")
    reader = _Reader(store, lock)
    boms = {name: reader.bom(name) for name in there if not wanted or name in wanted}
    texts = {f"{name}{_SUFFIX}": JsonV1Dot6(bom).output_as_string(indent=1) + "\n" for name, bom in boms.items()}
    for name, text in texts.items():
        check_document(name, text)
    texts[SUMMARY] = summary(boms)
    texts[CHECKSUMS] = checksums({name: store.record(name).files for name in store.names()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, text)
    except OSError as error:
        raise LabError(f"the folder {folder} can't be written ({error.strerror}): name another one with --to") from error
    return [folder / name for name in texts]


def check_document(name: str, text: str) -> None:
    """Raise LabError unless `text` is what the published schema of CycloneDX 1.6 allows, and nothing beside."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise LabError(f"{name} isn't valid CycloneDX 1.6 ({error!r}): report it")


def artefacts(store: Store) -> list[str]:
    """Give the images and boxes that are there; raise LabError if there are none."""
    known = [f"image-{name}" for name in (*images.IMAGES, *images.EXTRA_IMAGES)] + [f"box-{name}" for name in boxes.BOXES]
    there = set(store.names())
    found = [name for name in known if name in there]
    if not found:
        raise LabError(f"the mirror in {store.cache} isn't built: run `outlive mirror build` (OUTLIVE_CACHE names its folder)")
    return found


def extras_of(store: Store, box: str) -> list[str]:
    """Give the extra images that the artefact `box` was made of: one that was made later isn't in it."""
    there = set(store.names())
    made = store.record(box)
    return [
        name for name in images.EXTRA_IMAGES if f"image-{name}" in there and _made_of(made, store.record(f"image-{name}").key, unsaid=False)
    ]


def _layouts_in(record: Record) -> int:
    """Give how many images the full box with that record was made of, or 0 where the record is too old to say so."""
    match record.inputs:
        case [_, [_, [*layouts]], *_]:  # as `boxes.make_box` names them
            return len(layouts)
    return 0


def _made_of(whole: Record, key: str, *, unsaid: bool) -> bool:
    """Say whether an artefact was made of the one with that key; `unsaid` where its record is too old to say so."""
    return unsaid if whole.inputs is None else key in json.dumps(whole.inputs)


class _Reader:
    """Makes documents of a store; what several of them need is read once."""

    def __init__(self, store: Store, lock: Lock) -> None:
        self._store = store
        self._lock = lock
        self._artefacts: dict[str, Artefact] = {}
        self._roots: dict[str, list[Deb]] = {}
        self._programs: dict[Path, GoProgram] = {}

    def bom(self, name: str) -> Bom:
        """Make the document of the artefact `name`."""
        kind, _, of = name.partition("-")
        subject = self._image(of, name) if kind == "image" else self._box(of, name)
        parts = list(subject.components)
        subject.components.clear()
        made = datetime.fromtimestamp(self._lock.source_date_epoch, UTC)
        files = sorted(self._store.record(name).files.items())
        bom = Bom(
            serial_number=uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([name, files])),
            metadata=BomMetaData(component=subject, timestamp=made),
            components=parts,
        )
        bom.register_dependency(subject, parts)
        return bom

    def _read(self, name: str) -> Artefact:
        if name not in self._artefacts:
            self._artefacts[name] = self._store.read(name)
        return self._artefacts[name]

    def _part(self, name: str, whole: str) -> Artefact:
        """Give a part of the artefact `whole`; raise LabError if it's known to be another one than that was made of."""
        part = self._read(name)
        if not _made_of(self._store.record(whole), part.key, unsaid=True):
            raise LabError(f"{whole} in {self._store.cache} was made of another {name} than is there now: run `outlive mirror build`")
        return part

    def _image(self, image: str, ref: str) -> Component:
        """Describe an image, with its parts as components."""
        layout = self._read(f"image-{image}").path
        manifests = json.loads((layout / "index.json").read_text())["manifests"]
        names = [each["annotations"]["io.containerd.image.name"] for each in manifests]
        name, _, version = names[0].rpartition(":")
        return Component(
            type=ComponentType.CONTAINER,
            bom_ref=ref,
            name=name,
            version=version,
            hashes=[_sha256(manifests[0]["digest"].removeprefix("sha256:"))],
            # It has no package URL: the registry of that name has another image.
            properties=[Property(name="outlive:reference", value=each) for each in names],
            components=self._image_parts(image, ref),
        )

    def _image_parts(self, image: str, ref: str) -> Iterator[Component]:
        recipe = {**images.IMAGES, **images.EXTRA_IMAGES}[image]
        whole = f"image-{image}"
        if recipe.base:
            archive = load_extra(image).debian if image in EXTRAS else self._lock.debian
            yield from self._debs(recipe.base, whole, archive, ref)
        if recipe.busybox:
            found = [package for package in self._lock.debian.packages if package.filename.startswith("busybox-static_")]
            for package in found:
                deb = contents.deb_of_file(self._part("debian-packages", whole), package)
                yield _deb(deb, self._lock.debian, ref)
        for group, program, place in recipe.programs:
            yield self._program(group, program, f"/{place}", whole, ref)
        if image == "pause":
            yield self._pause(ref)
        if image == "mysql":
            yield self._npm(self._lock.mysql, ref)

    def _box(self, box: str, ref: str) -> Component:
        """Describe a box, with its parts, and the parts of these, as components."""
        artefact = self._read(f"box-{box}")
        whole = artefact.name
        parts = list(self._debs(box, whole, self._lock.debian, ref))
        if box == "full":
            parts += [self._kubernetes(name, whole, ref) for name in PACKAGES]
            parts += [self._image(image, f"{ref}/{image}") for image in self._images_in(whole)]
        return Component(
            type=ComponentType.OPERATING_SYSTEM,
            bom_ref=ref,
            name=f"outlive/{box}",
            version=boxes.version_of(artefact),
            hashes=[_sha256(digest_file(artefact.path / f"{box}.box"))],
            components=parts,
        )

    def _images_in(self, box: str) -> list[str]:
        """Give the images that the full box was made of; raise LabError if one of them is another one by now."""
        for image in images.IMAGES:
            self._part(f"image-{image}", box)
        extras = extras_of(self._store, box)
        # An extra with another key was made later, or made anew: then the box has one more image than are known by their keys.
        if _layouts_in(self._store.record(box)) > len(images.IMAGES) + len(extras):
            unknown = ", ".join(name for name in images.EXTRA_IMAGES if name not in extras)
            raise LabError(
                f"{box} in {self._store.cache} was made of another extra image ({unknown}) than is there now: run `outlive mirror build`"
            )
        return [*images.IMAGES, *extras]

    def _debs(self, root: str, whole: str, archive: Debian, ref: str) -> Iterator[Component]:
        artefact = self._part(f"root-{root}", whole)
        if root not in self._roots:
            self._roots[root] = contents.debs_of_root(artefact, archive)
        for deb in self._roots[root]:
            yield _deb(deb, archive, ref)

    def _kubernetes(self, name: str, whole: str, ref: str) -> Component:
        """Describe a package that the mirror packs: it's no Debian package, and not upstream's of that name."""
        package, version = PACKAGES[name], self._lock.packages[name]
        file = self._part("kubernetes-packages", whole).path / self._lock.packages["repository"] / "amd64" / f"{name}_{version}_amd64.deb"
        if not file.exists():
            raise LabError(f"kubernetes-packages has no {file.name}: it was built from another lock file, run `outlive mirror build`")
        ref = f"{ref}/{file.name}"
        programs = [self._program(group, program, f"/usr/bin/{program}", "kubernetes-packages", ref) for group, program in package.programs]
        for group in package.plugins:
            for plugin in sorted(self._part(f"programs-{group}", "kubernetes-packages").path.iterdir()):
                programs.append(self._program(group, plugin.name, f"/opt/cni/bin/{plugin.name}", "kubernetes-packages", ref))
        hashes = [_sha256(digest_file(file))]
        return Component(type=ComponentType.APPLICATION, bom_ref=ref, name=name, version=version, hashes=hashes, components=programs)

    def _program(self, group: str, program: str, place: str, whole: str, ref: str) -> Component:
        file = self._part(f"programs-{group}", whole).path / program
        if file not in self._programs:
            self._programs[file] = contents.go_program(file, f"src/outlive/mirror/go/{group}")
        built = self._programs[file]
        ref = f"{ref}{place}"
        properties = [Property(name="outlive:path", value=place), Property(name="outlive:main-package", value=built.package)]
        if self._lock.programs[group].cgo:
            properties.append(Property(name="outlive:c-library", value=_C_LIBRARY))
        return _component(
            Licences(reason=_GO_REASON),
            properties,
            type=ComponentType.APPLICATION,
            bom_ref=ref,
            name=program,
            version=built.version,
            hashes=[_sha256(self._store.record(f"programs-{group}").files[program])],
            components=[*(_module(module, ref) for module in built.modules), _standard_library(built.go, ref)],
        )

    def _pause(self, ref: str) -> Component:
        # It's no Go program: its source is a file of the module that kubelet is built from.
        kubernetes = contents.go_program(self._read("programs-kubernetes").path / "kubelet", "src/outlive/mirror/go/kubernetes").modules[0]
        return _component(
            Licences(reason=_PAUSE_REASON),
            [Property(name="outlive:path", value="/pause"), Property(name="outlive:c-library", value=_C_LIBRARY)],
            type=ComponentType.APPLICATION,
            bom_ref=f"{ref}/pause",
            name="pause",
            version=self._lock.images["pause"][0].rpartition(":")[2],
            components=[_module(kubernetes, f"{ref}/pause")],
        )

    def _npm(self, mysql: Mysql, ref: str) -> Component:
        digest = HashType(alg=HashAlgorithm.SHA_512, content=mysql.sha512)
        archive = self._store.cache / "downloads" / mysql.url.rpartition("/")[2]
        return _component(
            _npm_licences(archive),
            [Property(name="outlive:integrity", value=mysql.integrity)],
            type=ComponentType.APPLICATION,
            bom_ref=f"{ref}/{mysql.package_name}",
            name=mysql.package_name,
            version=mysql.package_version,
            purl=PackageURL("npm", None, mysql.package_name, mysql.package_version),
            hashes=[digest],
            external_references=[ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(mysql.url), hashes=[digest])],
        )


def _npm_licences(archive: Path) -> Licences:
    try:
        with tarfile.open(archive) as tar:
            file = tar.extractfile("package/package.json")
            named = json.load(file).get("license") if file else None
    except (OSError, tarfile.TarError, KeyError, ValueError):
        return Licences(reason="its archive isn't in the cache's downloads/ any more, or can't be read")
    return Licences((named,)) if isinstance(named, str) else Licences(reason="its package.json names no licence")


def _component(licences: Licences, properties: Iterable[Property], **fields: object) -> Component:
    """Make a component with its licences, as they are written, or with NOASSERTION and the reason."""
    stated = [_licence(name) for name in licences.names or [NOASSERTION]]
    reason = [] if licences.names else [Property(name="outlive:no-licence", value=licences.reason)]
    return Component(licenses=stated, properties=[*properties, *reason], **fields)  # type: ignore[arg-type]


def _licence(name: str) -> DisjunctiveLicense:
    # Debian's short names are SPDX's only in part: GPL-2+ is none.
    known = fixup_id(name)
    declared = None if name == NOASSERTION else LicenseAcknowledgement.DECLARED
    return DisjunctiveLicense(id=known, name=None if known else name, acknowledgement=declared)


def _deb(deb: Deb, archive: Debian, ref: str) -> Component:
    place = {"arch": deb.architecture, "distro": archive.suite}
    return _component(
        deb.licences,
        [],
        type=ComponentType.LIBRARY,
        bom_ref=f"{ref}/{deb.name}:{deb.architecture}",
        name=deb.name,
        version=deb.version,
        purl=PackageURL("deb", "debian", deb.name, deb.version, place),
        hashes=[_sha256(deb.sha256)],
    )


def _module(module: Module, ref: str) -> Component:
    namespace, _, name = module.path.rpartition("/")
    properties = [Property(name="outlive:h1", value=module.sum)] if module.sum else []
    if module.local:
        properties.append(Property(name="outlive:replaced-by", value=module.local))
    return _component(
        Licences(reason=_STAND_IN_REASON if module.local else _GO_REASON),
        properties,
        type=ComponentType.LIBRARY,
        bom_ref=f"{ref}/{module.path}",
        name=module.path,
        version=module.version,
        # What stands in for a module isn't the module.
        purl=None if module.local else PackageURL("golang", namespace, name, module.version),
    )


def _standard_library(go: str, ref: str) -> Component:
    return _component(
        Licences(reason=_GO_REASON),
        [],
        type=ComponentType.LIBRARY,
        bom_ref=f"{ref}/stdlib",
        name="stdlib",
        version=go,
        purl=PackageURL("golang", None, "stdlib", go),
    )


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def checksums(files: Mapping[str, Mapping[str, str]]) -> str:
    """Give the checksums of every artefact's files, as `sha256sum --check` reads them in the store's folder."""
    return "".join(f"{digest}  {name}/{file}\n" for name in sorted(files) for file, digest in sorted(files[name].items()))


@dataclass(frozen=True)
class _Line:
    """A component as the summary counts it: the same one in two programs is one."""

    sort: str
    name: str
    version: str
    licences: tuple[str, ...]
    reason: str


_OFTEN = 20  # licences that the summary lists
_SORTS = ("Debian", "programs", "modules", "other")


def summary(boms: Mapping[str, Bom]) -> str:
    """Give the summary for people: what each artefact has, the licences, and what has none, with the reason."""
    found = {name: {line for component in bom.components for line in _lines(component)} for name, bom in boms.items()}
    table: list[tuple[str, ...]] = [("artefact", "sha256", *_SORTS, "licences", "no licence")]
    for name, lines in found.items():
        subject = boms[name].metadata.component
        digest = next(iter(subject.hashes)).content if subject else ""
        counts = collections.Counter(line.sort for line in lines)
        licences = {licence for line in lines for licence in line.licences}
        without = sum(not line.licences for line in lines)
        table.append((name, digest[:12], *(str(counts[sort]) for sort in _SORTS), str(len(licences)), str(without)))
    every = set().union(*found.values())
    named = collections.Counter(licence for line in every for licence in line.licences)
    reasons: dict[str, list[str]] = {}
    for line in sorted(every, key=lambda each: (each.sort, each.name, each.version)):
        if not line.licences:
            reasons.setdefault(line.reason, []).append(line.name)
    text = ["What images and boxes are made of: components of each, counted once.", "", *_columns(table), ""]
    text += [f"No licence stated ({NOASSERTION}), and why:", ""]
    for reason, names in reasons.items():
        text.append(f"{len(names):6}  {reason}")
        if reason != _GO_REASON:
            text.append(f"        {', '.join(dict.fromkeys(names))}")
    often = sorted(named.items(), key=lambda each: (-each[1], each[0]))
    text += ["", "Licences as the components' own papers name them, and how many components name them (most name several):", ""]
    text += [f"{count:6}  {name}" for name, count in often[:_OFTEN]]
    if often[_OFTEN:]:
        text.append(f"        and {len(often) - _OFTEN} more names, which the documents have")
    return "\n".join(text) + "\n"


def _lines(component: Component) -> Iterator[_Line]:
    """Give a component and those below it; what is only a wrapping, an image in a box for one, isn't counted itself."""
    stated = [licence.id or licence.name or "" for licence in component.licenses if isinstance(licence, DisjunctiveLicense)]
    if stated:
        reason = next((each.value or "" for each in component.properties if each.name == "outlive:no-licence"), "")
        licences = tuple(sorted(name for name in stated if name != NOASSERTION))
        yield _Line(_sort(component), component.name, component.version or "", licences, reason)
    for each in component.components:
        yield from _lines(each)


def _sort(component: Component) -> str:
    if component.purl is not None and component.purl.type == "deb":
        return "Debian"
    if component.type is ComponentType.LIBRARY:
        return "modules"
    return "programs" if any(each.name == "outlive:main-package" for each in component.properties) else "other"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows in columns: the first to the left, the others to the right."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) if number else cell.ljust(width) for number, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
