"""The one list of the API's operations. The router and the OpenAPI document are made from it, so they cannot drift."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from api.abuse.rate_limits import RatePolicy
from api.archive.routes import operations as archive_operations
from api.holds import operations as hold_operations
from api.monitoring.routes import operations as monitoring_operations
from api.reconciliation import operations as reconciliation_operations
from api.routing.endpoint import Address, Endpoint
from api.routing.operations import Operation, Parameter
from api.server.services import Services
from api.totals.routes import operations as totals_operations
from api.transactions import handlers, messages
from config import Settings
from ledger.scopes import Scope
from ledger.tables import TieredTable
from ledger.transactions import Status
from suppliers.registry import definitions


@dataclass(frozen=True, slots=True)
class Resource:
    """A tiered table over HTTP: its address, its types, and the scopes that guard it."""

    table: TieredTable
    path: str
    noun: str
    phrase: str
    read: Scope
    write: Scope
    policy: RatePolicy
    create: Callable[..., Awaitable[Response]]
    new: type
    example: Mapping[str, Any]
    row: type
    batch: type
    page: type
    feed: type

    @property
    def tag(self) -> str:
        """The tag of its operations. Swagger UI's links to operations need a tag without an underscore."""
        return self.path.rsplit("/", 1)[-1]


_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Identifies the request. The same key and body return the first answer again, with `Idempotent-Replayed: true`.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    place="header",
    required=True,
)
_NAME = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": messages.PRINTABLE}
_TIME = {"type": "string", "format": "date-time", "pattern": messages.INSTANT}


def resources(settings: Settings) -> tuple[Resource, ...]:
    """The tables that have addresses. A further one is a further value here, once its fields are in `ledger`."""
    return (
        Resource(
            table=settings.table("transactions"),
            path="/api/v1/transactions",
            noun="Transaction",
            phrase="transaction",
            read=Scope.TRANSACTIONS_READ,
            write=Scope.TRANSACTIONS_WRITE,
            policy=RatePolicy.TRANSACTIONS,
            create=handlers.create,
            new=messages.NewTransaction,
            example=messages.EXAMPLE,
            row=messages.Transaction,
            batch=messages.NewTransactions,
            page=messages.TransactionPage,
            feed=messages.TransactionFeed,
        ),
        Resource(
            table=settings.table("vas_transactions"),
            path="/api/v1/vas-transactions",
            noun="VasTransaction",
            phrase="VAS transaction",
            read=Scope.VAS_READ,
            write=Scope.VAS_WRITE,
            policy=RatePolicy.VAS,
            create=handlers.create_vas,
            new=messages.VasOrder,
            example=messages.VAS_EXAMPLE,
            row=messages.VasTransaction,
            batch=messages.NewVasTransactions,
            page=messages.VasTransactionPage,
            feed=messages.VasTransactionFeed,
        ),
    )


def operations(settings: Settings) -> tuple[Operation, ...]:
    """Every operation, in the order in which they are matched and documented."""
    of_tables = [operation for resource in resources(settings) for operation in _of_resource(resource, settings)]
    of_reconciliation = reconciliation_operations(settings.suppliers.names)
    return (
        *of_tables,
        _VAS_FAILURE,
        *of_reconciliation,
        *archive_operations(settings),
        *totals_operations(),
        *hold_operations(),
        *monitoring_operations(settings),
        *_webhooks(settings),
        *_HEALTH,
    )


def router_routes(all_operations: tuple[Operation, ...], services: Services) -> list[Route]:
    """A bare route for each path, so that the answer to a wrong method lists every right one."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for operation in all_operations:
        by_path.setdefault(operation.path, {})[operation.method] = Endpoint(operation, services)
    return [Route(path, Address(endpoints)) for path, endpoints in by_path.items()]


def _of_resource(resource: Resource, settings: Settings) -> tuple[Operation, ...]:
    noun, path, table = resource.noun, resource.path, resource.table
    guarded = partial(Operation, policy=resource.policy, tag=resource.tag)
    read = partial(guarded, method="GET", scope=resource.read)
    write = partial(guarded, method="POST", scope=resource.write)
    return (
        write(
            name=f"create{noun}",
            path=path,
            summary=f"Store a {resource.phrase}",
            description="201 means that the row is durable.",
            handler=partial(resource.create, table=table),
            request=resource.new,
            example=resource.example,
            answers={201: resource.row},
            parameters=(_IDEMPOTENCY_KEY,),
            problems=frozenset({400, 409, 413, 415}),
        ),
        write(
            name=f"create{noun}s",
            path=f"{path}/batch",
            summary=f"Store a batch of {resource.phrase}s",
            description=f"A batch has up to {settings.api_batch_limit} items. 200 means that every item was processed. "
            "The status of each item is 201 (stored and durable) or 422 (refused).",
            handler=partial(handlers.create_batch, table=table),
            request=resource.batch,
            example={"items": [resource.example]},
            answers={200: messages.BatchResults},
            parameters=(_IDEMPOTENCY_KEY,),
            problems=frozenset({400, 409, 413, 415}),
            many=True,
        ),
        read(
            name=f"list{noun}s",
            path=path,
            summary=f"List the {resource.phrase}s of a wallet or a user",
            description="The newest come first. A page covers every tier: it may start with today's rows and end in "
            "the archive. `wallet_id` or `user_id` is required.",
            handler=partial(handlers.read_page, table=table),
            answers={200: resource.page},
            parameters=_page_parameters(settings),
            problems=frozenset({409}),
            conditional=True,
        ),
        read(
            name=f"follow{noun}s",
            path=f"{path}/feed",
            summary=f"Follow the new {resource.phrase}s of the client",
            description="Every row that this API stores is listed exactly once, the oldest first, some seconds after "
            "it was created. Send `next_cursor` as `cursor` again and again: at once while `more` is true, otherwise "
            "after a pause. Without `cursor` and `from` the feed begins now. Later changes of a row's status are not "
            "listed.",
            handler=partial(handlers.read_feed, table=table),
            answers={200: resource.feed},
            parameters=_feed_parameters(settings),
        ),
        read(
            name=f"get{noun}",
            path=f"{path}/{{id}}",
            summary=f"Get a {resource.phrase}",
            description="The row may be in any tier: its id contains the time, and so the month.",
            handler=partial(handlers.read_one, table=table),
            answers={200: resource.row},
            problems=frozenset({404, 409, 410}),
            conditional=True,
        ),
        write(
            name=f"change{noun}Status",
            path=f"{path}/{{id}}/status",
            summary=f"Change the status of a {resource.phrase}",
            description="A status moves only forward. Sending the current status changes nothing and succeeds. Rows "
            "with a terminal status and rows of archived months never change.",
            handler=partial(handlers.change_status, table=table),
            request=messages.StatusChange,
            example={"status": Status.COMPLETED},
            answers={200: resource.row},
            problems=frozenset({400, 404, 409, 413, 415}),
        ),
    )


def _limit(settings: Settings) -> Parameter:
    limit = {"type": "integer", "minimum": 1, "maximum": settings.api_page_limit, "default": handlers.DEFAULT_LIMIT}
    return Parameter("limit", "Maximum number of rows on the page", limit)


def _feed_parameters(settings: Settings) -> tuple[Parameter, ...]:
    return (
        Parameter("cursor", "`next_cursor` of the previous answer", {"type": "string"}),
        Parameter("from", "Where the feed begins: rows created at this time or later", _TIME),
        _limit(settings),
    )


def _page_parameters(settings: Settings) -> tuple[Parameter, ...]:
    return (
        Parameter("wallet_id", "Only rows of this wallet", _NAME),
        Parameter("user_id", "Only rows of this user", _NAME),
        Parameter("from", "Only rows created at this time or later", _TIME),
        Parameter("to", "Only rows created before this time", _TIME),
        Parameter("status", "Only rows with this status", {"$ref": "#/components/schemas/Status"}),
        Parameter("type", "Only rows of this type", {"$ref": "#/components/schemas/TransactionType"}),
        Parameter(
            "cursor", "`next_cursor` of the previous page; keep the other parameters unchanged", {"type": "string"}
        ),
        _limit(settings),
    )


_VAS_FAILURE = Operation(
    name="getVasTransactionFailure",
    method="GET",
    path="/api/v1/vas-transactions/{id}/failure",
    summary="Get the reason why a purchase failed",
    description="A reason exists for a row that was stored with `vend` and has failed. It is deleted after a "
    "configured number of days; then the answer is 404.",
    handler=handlers.read_vas_failure,
    scope=Scope.VAS_READ,
    policy=RatePolicy.VAS,
    tag="vas-transactions",
    answers={200: messages.VendFailure},
    problems=frozenset({404}),
)


def _webhooks(settings: Settings) -> tuple[Operation, ...]:
    """An address for each supplier that sends webhooks."""
    known = definitions(settings.suppliers).values()
    return tuple(_webhook(definition.name, definition.title) for definition in known if definition.webhooks is not None)


def _webhook(name: str, title: str) -> Operation:
    return Operation(
        name=f"{name}Webhook",
        method="POST",
        path=f"/api/v1/webhooks/{name}",
        summary=f"Receive a {title} payment notification",
        description=f"The body is form encoded and signed with the webhook secret. The API then asks {title} for the "
        "outcome of the payment, so notifications may arrive late, out of order and more than once.",
        handler=partial(handlers.webhook, supplier=name),
        tag="webhooks",
        answers={200: messages.Taken},
        problems=frozenset({400, 401, 404, 413, 503}),
    )


_probe = partial(Operation, method="GET", policy=None, tag="health")
# Not counted by address: behind a proxy that no setting names, all clients have one address. A client that used up its
# limit would make the process look unwell to the load balancer. Neither probe costs much.
_HEALTH = (
    _probe(
        name="live",
        path="/health/live",
        summary="Check that the process answers",
        handler=handlers.live,
        answers={200: messages.Health},
    ),
    _probe(
        name="ready",
        path="/health/ready",
        summary="Check that PostgreSQL answers the process and takes writes",
        handler=handlers.ready,
        answers={200: messages.Health},
        problems=frozenset({503}),
    ),
)
