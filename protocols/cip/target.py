"""The target: one controller's objects and tags, and what becomes of a request sent to it.

    request path            served by
    91 "Tag" ..., 6B, 68    tag services on the image; 0x55 lists, 0x0E and 0x10 take raw bytes
    20 06 24 01             Connection Manager: Unconnected Send, Forward Open, Forward Close
    20 02 24 01             Message Router: Multiple Service Packet; tags without address are
                            its attributes
    20 cc ...               the object of that class, or the tag at class/instance/attribute

Nothing a peer sends raises out of `execute`: what is wrong with it is the status of its reply.

Source: CIP Networks Library Vol. 1, 2-4 and chapter 5; Logix 5000 Data Access (1756-PM020).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpppod.protocols.cip import epath, tag_services
from cpppod.protocols.cip.epath import Logical, LogicalType, Segment, Symbol
from cpppod.protocols.cip.failures import refusal, unrouted
from cpppod.protocols.cip.image import Image, Reply, Variable
from cpppod.protocols.cip.message_router import MessageRouterRequest, Service
from cpppod.protocols.cip.objects import multiple, symbol
from cpppod.protocols.cip.objects.attributes import (
    Attribute,
    CipClass,
    CipInstance,
    constant,
    success,
)
from cpppod.protocols.cip.objects.connection_manager import (
    CONNECTION_MANAGER_CLASS,
    ConnectionManager,
)
from cpppod.protocols.cip.objects.data_table import DataTables
from cpppod.protocols.cip.objects.identity import Identity
from cpppod.protocols.cip.objects.message_router import ASSEMBLY_CLASS, MESSAGE_ROUTER_CLASS
from cpppod.protocols.cip.objects.spec import Controller, object_specs
from cpppod.protocols.cip.personality import PERSONALITIES, Personality
from cpppod.protocols.cip.reply_cache import MAX_CONNECTIONS_COST, Budget, ReplyCache
from cpppod.protocols.cip.request import (
    ForwardNeeded,
    Origin,
    Pending,
    RecordNeeded,
    Tried,
    WriteResult,
)
from cpppod.protocols.cip.route_table import RouteDecision, RoutePolicy, ports_of
from cpppod.protocols.cip.status import CipError, GeneralStatus, words_of
from cpppod.protocols.cip.symbols import (
    PROGRAM_CLASS,
    PROGRAM_PREFIX,
    SYMBOL_CLASS,
    TEMPLATE_CLASS,
    Allotment,
    Reference,
    Symbols,
    unknown,
)
from cpppod.protocols.cip.unconnected_send import UnconnectedSend
from cpppod.protocols.cip.write_attempts import WRITE_SERVICES, settled, tried
from cpppod.protocols.model.errors import EncodeError, ProtocolError

Outcome = bytes | Reply | Pending
_TAG_SERVICES = frozenset((0x4C, 0x4D, 0x4E, 0x52, 0x53))


class Target:
    """One controller.

    Attributes:
        image, symbols: its tags.
        classes: its objects by class id; more may be added before it serves.
        observe: called with (kind, variable, first, count) after a tag was read or written by a
            request that was not remembered; for `--print`.
        audit: is told of every attempt to write that this target has answered by itself; one that
            left becomes a `RecordNeeded`. None keeps no record.
        may_record: whether writes may be done, where they must be recorded.
        refused: refusals by general status, for metrics.
        lenient_types: whether a write of another type is converted where no value changes by it.
    """

    def __init__(
        self,
        *,
        random_u32: Callable[[], int],
        clock_us: Callable[[], int],
        personality: Personality = PERSONALITIES["controllogix"],
        identity: Identity | None = None,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
        policy: RoutePolicy | None = None,
        image: Image | None = None,
        allotment: Allotment | None = None,
        program_name: str = "cpppod",
        writable_identity: bool = False,
        lenient_types: bool = False,
    ) -> None:
        self.personality = personality
        self.lenient_types = lenient_types
        self.clock_us = clock_us
        self.identity = identity or personality.identity
        self.policy = policy or RoutePolicy()
        self.image = image or Image()
        self.symbols = Symbols(self.image, allotment)
        self.manager = ConnectionManager(self.identity, self.policy, random_u32)
        self._data_tables = DataTables(self.symbols)
        self.addressed: dict[tuple[int, ...], Variable] = {}
        self._last_attribute = 0
        self.refused: Counter[int] = Counter()
        self.observe: Callable[[str, Variable, int, int], None] | None = None
        self.audit: Callable[[Tried], None] | None = None
        self.may_record: Callable[[], bool] = _always
        self.remember = True
        self.replies = ReplyCache()
        self.connection_replies = Budget(MAX_CONNECTIONS_COST)
        self.now = 0.0
        self.classes: dict[int, CipClass] = {}
        controller = Controller(
            self.identity,
            objects or {},
            writable_identity,
            program_name,
            clock_us,
            lambda: len(self.image.variables),
        )
        for spec in object_specs():
            if personality.logix or not spec.logix:
                self.add_class(spec.make(controller))
        if personality.logix:
            self.add_class(self._data_tables)

    def drop_session(self, session: Any) -> None:
        """A session has ended: what it opened and made here goes with it."""
        self.manager.drop_session(session)
        self._data_tables.drop_session(session)

    def forget_replies(self) -> None:
        """Work out anew what requests mean: tags came or went, or answer otherwise than before."""
        self.image.version += 1
        self.replies.clear()
        for connection in self.manager.connections.values():
            if connection.cache is not None:
                connection.cache.clear()

    def set_error(self, variable: Variable, status: int) -> None:
        """Have every access to a tag answer a general status; 0 ends that."""
        variable.error = status
        variable.changed()
        self.forget_replies()

    def add_class(self, item: CipClass) -> None:
        """Take in an object class; one of the same id gives way."""
        self.classes[item.class_id] = item

    def add_tag(self, variable: Variable, address: tuple[int, int, int] | None = None) -> None:
        """Take in a tag, at `address` (class, instance, attribute) or the Message Router's next.

        Raises:
            EncodeError: the name or the address is taken.
        """
        known = self.image.variables.get(variable.name.casefold())
        if known is not None and known is not variable:
            raise EncodeError(f"tag {variable.name} twice", status=0)
        if address is None:
            self._last_attribute += 1
            while (MESSAGE_ROUTER_CLASS, 1, self._last_attribute) in self.addressed:
                self._last_attribute += 1
            address = (MESSAGE_ROUTER_CLASS, 1, self._last_attribute)
        if (owner := self.addressed.get(address, variable)) is not variable:
            raise EncodeError(f"tag {variable.name}: {address} is {owner.name}'s", status=0)
        self.image.add(variable)
        self.symbols.add(variable)
        self._place(variable, address)
        self.forget_replies()

    def add_attribute(self, variable: Variable, address: tuple[int, int, int]) -> None:
        """Take in a value without a name, at `address` (class, instance, attribute) only."""
        self._place(variable, address)
        self.forget_replies()

    def _place(self, variable: Variable, address: tuple[int, int, int]) -> None:
        class_id, instance_id, attribute_id = address
        found = self.classes.setdefault(class_id, CipClass(class_id))
        instance = found.instances.setdefault(instance_id, CipInstance())
        instance.attributes[attribute_id] = _tag_attribute(variable, self.image)
        if class_id == ASSEMBLY_CLASS and attribute_id == 3:
            size = len(variable.data).to_bytes(2, "little")
            instance.attributes.setdefault(4, constant(size))
        variable.address = address
        self.addressed[address] = variable

    def add_device(
        self,
        variable: Variable,
        groups: Mapping[str, tuple[float, Sequence[str]]],
        flat_names: Mapping[str, str] | None = None,
    ) -> None:
        """Take in a device's structure, and flat names (name -> member) for some of its tags."""
        self.image.add_device(variable, groups)
        self.symbols.add(variable)
        for name, member in (flat_names or {}).items():
            self.symbols.add_flat(name, variable, member)
        self.forget_replies()

    def remove_tag(self, name: str) -> None:
        """Forget a tag; requests that name it, or its id, answer 0x05."""
        variable = self.image.variables.get(name.casefold())
        if variable is None:
            return
        self.image.remove(variable)
        self.symbols.remove_variable(variable)
        self.forget_replies()
        if variable.address is not None:
            self.addressed.pop(variable.address, None)
            class_id, instance_id, attribute_id = variable.address
            instance = self.classes[class_id].instances[instance_id]
            instance.attributes.pop(attribute_id, None)
            if class_id == ASSEMBLY_CLASS and (class_id, instance_id, 4) not in self.addressed:
                instance.attributes.pop(4, None)

    def execute(self, message: bytes, origin: Origin) -> Outcome:
        """What becomes of a Message Router request."""
        service = message[0] if message else 0
        try:
            request = MessageRouterRequest.decode(message)
            path = epath.decode(request.path)
            if service in WRITE_SERVICES and self.audit is not None:
                return self._audited(self.audit, service, path, request.data, origin)
            return self._dispatch(service, path, request.data, origin)
        except ProtocolError as error:
            self.refused[error.status] += 1
            return refusal(service, error)

    def _audited(
        self,
        audit: Callable[[Tried], None],
        service: int,
        path: Sequence[Segment],
        data: bytes,
        origin: Origin,
    ) -> Outcome:
        """As `_dispatch`, with a record of what may be a write."""
        attempt = tried(service, path, data, self._named)
        if attempt is None:
            return self._dispatch(service, path, data, origin)
        attempt.address, attempt.session = origin.address, origin.session_name
        try:
            if not self.may_record():
                raise CipError(status=GeneralStatus.DEVICE_STATE_CONFLICT)
            outcome = self._dispatch(service, path, data, origin)
        except ProtocolError as error:
            extended = getattr(error, "extended", ())
            text, said = words_of(error.status, extended), str(error)
            if said and text not in said:
                text = f"{text}: {said}"
            attempt.status, attempt.extended, attempt.why = error.status, extended, text
            audit(attempt)
            raise
        if isinstance(outcome, Pending):
            return _recorded(attempt, outcome)
        if isinstance(outcome, bytes):
            audit(settled(attempt, outcome))
        return outcome

    def _named(self, path: Sequence[Segment]) -> Reference | None:
        """What a path names here, None for nothing."""
        if isinstance(path[0], Logical) and path[0].kind is LogicalType.CLASS:
            variable = self.addressed.get(_numbers(path))
            if variable is not None:
                path = (Symbol(variable.name), *path[3:])
        try:
            return self.symbols.resolve(path)
        except ProtocolError:
            return None

    def render(self, request: bytes, reply: Reply) -> bytes:
        """The reply to `request` as it is now: its data, or why its tag is not fresh."""
        try:
            return reply.render()
        except CipError as error:
            self.refused[error.status] += 1
            reply.lasts = False
            return refusal(request[0], error)

    def plain_read(self, message: bytes, room: int) -> Reply | None:
        """The reply to Read Tag of one element by a bare name, without looking at all else that a
        request may be; None where `execute` is to be asked. Packets hold hundreds of these.

        Args:
            room: bytes that the reply may have.
        """
        if self.observe is not None or not self.personality.symbols:
            return None
        name = tag_services.plain_name(message)
        variable = self.symbols.controller.by_name.get(name.casefold()) if name else None
        return None if variable is None else tag_services.plain_reply(variable, room)

    def _dispatch(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        first = path[0] if path else None
        if service & 0x80 or not service:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        if isinstance(first, Symbol):
            return self._tag(service, path, data, origin)
        if not isinstance(first, Logical) or first.kind is not LogicalType.CLASS:
            raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
        own = _OWN.get(first.value)
        if own is not None:
            return own(self, service, path, data, origin)
        return self._object(service, path, data, origin)

    def _object(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        assert isinstance(path[0], Logical)
        if (service in _TAG_SERVICES and len(path) >= 3) or self._names_element(service, path):
            return self._addressed(service, path, data, origin)
        found = self.classes.get(path[0].value)
        if found is None:
            raise unknown("class")
        return found.serve(service, path, data, origin)

    def _names_element(self, service: int, path: Sequence[Segment]) -> bool:
        """Whether an attribute service is sent to less than the whole of a tag at an address."""
        if service not in (Service.GET_ATTRIBUTE_SINGLE, Service.SET_ATTRIBUTE_SINGLE):
            return False
        return len(path) > 3 and _numbers(path) in self.addressed

    def _addressed(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        """A tag service on class/instance/attribute instead of a name."""
        variable = self.addressed.get(_numbers(path))
        if variable is None:
            raise unknown("attribute")
        return self._tag(service, path[3:], data, origin, variable)

    def _tag(
        self,
        service: int,
        path: Sequence[Segment],
        data: bytes,
        origin: Origin,
        variable: Variable | None = None,
    ) -> Outcome:
        """A tag service: `path` begins with the tag's name, or follows after `variable`."""
        if service == Service.GET_INSTANCE_ATTRIBUTE_LIST:
            return self._listing(path, data, origin)
        if not self.personality.symbols and variable is None:
            raise CipError(status=GeneralStatus.PATH_SEGMENT_ERROR, extended=(0,))
        if variable is None:
            reference = self.symbols.resolve(path)
        else:
            reference = self.symbols.within(variable, path)
        if service in (Service.READ_TAG, Service.READ_TAG_FRAGMENTED):
            outcome = tag_services.read(service, reference, data, origin)
            self._observe("read", reference, data, origin)
            return outcome
        if service in (Service.WRITE_TAG, Service.WRITE_TAG_FRAGMENTED):
            done = tag_services.write(service, reference, data, origin, lenient=self.lenient_types)
            self._observe("write", reference, data, origin)
            return done
        if service == Service.READ_MODIFY_WRITE_TAG:
            return tag_services.read_modify_write(service, reference, data, origin)
        if service in (Service.GET_ATTRIBUTE_SINGLE, Service.SET_ATTRIBUTE_SINGLE):
            return self._raw(service, reference, data, origin)
        raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)

    def _observe(self, kind: str, reference: Reference, data: bytes, _origin: Origin) -> None:
        if self.observe is not None:
            at = 0 if kind == "read" else 4 if data[:2] == b"\xa0\x02" else 2
            count = int.from_bytes(data[at : at + 2], "little")
            self.observe(kind, reference.variable, reference.first, count)

    def _raw(self, service: int, reference: Reference, data: bytes, origin: Origin) -> bytes:
        """Get and Set Attribute Single of a tag, a member or an element, by its path."""
        variable = reference.variable
        if variable.device or variable.attribute is not None:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        if service == Service.GET_ATTRIBUTE_SINGLE:
            raw = tag_services.attribute_bytes(reference)
            if len(raw) + 4 > origin.capacity:
                raise CipError(status=GeneralStatus.REPLY_DATA_TOO_LARGE)
            return success(service, raw)
        tag_services.check_writable(variable, origin)
        tag_services.set_attribute_bytes(reference, data)
        return success(service)

    def _listing(self, path: Sequence[Segment], data: bytes, origin: Origin) -> bytes:
        """Tag browse: the controller's symbols, or a program's."""
        if not self.personality.browsing:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        scope, rest = self.symbols.controller, path
        first = path[0]
        if isinstance(first, Symbol):
            if not first.name.casefold().startswith(PROGRAM_PREFIX):
                raise unknown(first.name)
            found = self.symbols.programs.get(first.name.casefold())
            if found is None:
                raise unknown(first.name)
            scope, rest = found, path[1:]
        elif isinstance(first, Logical) and first.value == PROGRAM_CLASS:
            number = path[1].value if len(path) > 1 and isinstance(path[1], Logical) else 0
            if number not in self.symbols.program_ids:
                raise unknown()
            scope, rest = self.symbols.program_ids[number], path[2:]
        if not rest or rest[0] != Logical(LogicalType.CLASS, SYMBOL_CLASS):
            raise unknown()
        start = rest[1].value if len(rest) > 1 and isinstance(rest[1], Logical) else 0
        return symbol.list_symbols(scope, start, data, origin)

    def _symbol(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        """Requests to class 0x6B or 0x68: tags by instance, listings, attributes of a symbol."""
        if path[0] != Logical(LogicalType.CLASS, SYMBOL_CLASS) or not _is_attribute(service, path):
            return self._tag(service, path, data, origin)
        if not self.personality.browsing or len(path) < 2:
            raise unknown("class")
        entries = self.symbols.controller.entries
        number = _number(path)
        holder = CipClass(SYMBOL_CLASS)
        if not number:
            holder.instances = dict.fromkeys(entries, CipInstance())
        elif number in entries:
            holder.add(number, symbol.symbol_instance(entries[number]))
        return holder.serve(service, path, data, origin)

    def _template(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        if not self.personality.browsing:
            raise unknown("class")
        number = _number(path)
        if service == Service.READ_TAG:
            return symbol.read_template(self.symbols, number, data, origin)
        holder = CipClass(TEMPLATE_CLASS)
        if not number:
            holder.instances = dict.fromkeys(self.symbols.templates, CipInstance())
        else:
            holder.add(number, symbol.template_instance(self.symbols, number))
        return holder.serve(service, path, data, origin)

    def _router(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        if service == Service.MULTIPLE_SERVICE_PACKET:
            if not self.personality.packets or origin.packed:
                raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
            return multiple.serve(self, data, origin)
        return self._object(service, path, data, origin)

    def _connection_manager(
        self, service: int, path: Sequence[Segment], data: bytes, origin: Origin
    ) -> Outcome:
        if service in (0x01, 0x0E, 0x03):
            return self._object(service, path, data, origin)
        if origin.wrapped or origin.packed:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        if service == Service.READ_TAG_FRAGMENTED:
            return self._unconnected_send(data, origin)
        if not self.personality.connected:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        if service in (Service.FORWARD_OPEN, Service.LARGE_FORWARD_OPEN):
            return self.manager.forward_open(service, data, origin, self.now)
        if service == Service.READ_MODIFY_WRITE_TAG:
            return self.manager.forward_close(service, data, origin)
        raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)

    def _unconnected_send(self, data: bytes, origin: Origin) -> Outcome:
        if not self.personality.routes:
            raise CipError(status=GeneralStatus.SERVICE_NOT_SUPPORTED)
        wrapped = UnconnectedSend.decode(data)
        try:
            way = self.policy.decide(ports_of(wrapped.route_path))
        except CipError as error:
            if error.status != GeneralStatus.CONNECTION_FAILURE:
                raise
            self.refused[error.status] += 1
            return unrouted(wrapped.request, wrapped.route_path, error.extended[0])
        if way is RouteDecision.FORWARD:
            return self._forward(wrapped, origin)
        inner = Origin(
            self.image,
            origin.address,
            origin.capacity,
            origin.connected,
            origin.may_write,
            wrapped=True,
            packed=origin.packed,
            session=origin.session,
        )
        return self.execute(wrapped.request, inner)

    def _forward(self, wrapped: UnconnectedSend, origin: Origin) -> Pending:
        command = ForwardNeeded(
            wrapped.route_path,
            wrapped.request,
            wrapped.priority_tick,
            wrapped.timeout_ticks,
            origin.address,
            origin.capacity,
        )
        return Pending(command, lambda reply: reply, exclusive=False)


def _always() -> bool:
    return True


def _recorded(attempt: Tried, pending: Pending) -> Pending:
    """A write that left: its reply waits for its record."""

    def resume(result: Any) -> bytes | Pending:
        reply = pending.resume(result)
        if isinstance(reply, Pending):
            return _recorded(attempt, reply)
        done = settled(attempt, reply)
        if isinstance(result, WriteResult):
            done.unknown, done.why = result.unknown, result.why or done.why
        return Pending(RecordNeeded(done), lambda _: reply, pending.exclusive)

    return Pending(pending.command, resume, pending.exclusive)


def _numbers(path: Sequence[Segment]) -> tuple[int, ...]:
    """Class, instance and attribute that a path begins with."""
    return tuple(item.value for item in path[:3] if isinstance(item, Logical))


def _number(path: Sequence[Segment]) -> int:
    """The instance that a path names behind its class, 0 for the class itself."""
    return path[1].value if len(path) > 1 and isinstance(path[1], Logical) else 0


def _is_attribute(service: int, path: Sequence[Segment]) -> bool:
    """Whether a request to a symbol asks what it is, and not what its tag is worth."""
    if service in (Service.GET_ATTRIBUTES_ALL, Service.GET_ATTRIBUTE_LIST):
        return True
    named = any(isinstance(item, Logical) and item.kind is LogicalType.ATTRIBUTE for item in path)
    single = service in (Service.GET_ATTRIBUTE_SINGLE, Service.SET_ATTRIBUTE_SINGLE)
    return single and (named or not _number(path))


def _tag_attribute(variable: Variable, image: Image) -> Attribute:
    """A tag as an attribute: its bytes without a type."""

    whole = Reference(variable, variable.type, available=variable.length, whole=variable.length)

    def get() -> bytes:
        return tag_services.attribute_bytes(whole)

    def put(data: bytes) -> None:
        if variable.error:
            raise CipError(status=variable.error)
        if not variable.writable:
            raise CipError(status=GeneralStatus.PRIVILEGE_VIOLATION)
        tag_services.check_rate(variable, image.now)
        tag_services.set_attribute_bytes(whole, data)

    if variable.attribute is not None:
        return Attribute(get, put, deferred=tag_services.attribute_access(variable))
    return Attribute(get, put, len(variable.data))


_OWN: dict[int, Callable[[Target, int, Sequence[Segment], bytes, Origin], Outcome]] = {
    MESSAGE_ROUTER_CLASS: Target._router,
    CONNECTION_MANAGER_CLASS: Target._connection_manager,
    PROGRAM_CLASS: Target._symbol,
    SYMBOL_CLASS: Target._symbol,
    TEMPLATE_CLASS: Target._template,
}
