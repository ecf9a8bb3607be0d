"""Suppliers from elsewhere: the packages that `TREASURY_SUPPLIERS__MODULES` names, and their settings.

Each package has a ``DEFINITION`` (`suppliers.definition`). Only its name and the model of its settings are read here.
"""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from ledger.transactions import SUPPLIER_NAME_RULE, is_supplier_name


class PluginDefinition(Protocol):
    """The part of a supplier's definition that the settings need."""

    name: str
    settings: type[BaseModel]


def with_plugins(data: Mapping[str, Any], own_fields: Collection[str]) -> dict[str, Any]:
    """``data`` of the section `suppliers` with the validated settings of each plug-in, by the name of its supplier.

    ``own_fields`` are the names that are taken. Raises ValueError that names the module or the field.
    """
    modules = data.get("modules") or ()
    definitions = _load(modules, own_fields) if isinstance(modules, list | tuple) else {}
    complete = dict(data)
    for name, definition in definitions.items():
        complete[name] = _settings(definition, complete.get(name, {}))
    if unknown := sorted(complete.keys() - {*own_fields, *definitions}):
        raise ValueError(f"{unknown[0]}: is neither a setting nor the name of a supplier")
    return complete


def _load(modules: Collection[object], taken: Collection[str]) -> dict[str, PluginDefinition]:
    definitions: dict[str, PluginDefinition] = {}
    for definition in map(_definition, modules):
        if definition.name in taken:
            raise ValueError(f"modules: there is a supplier {definition.name} already")
        if definition.name in definitions:
            raise ValueError(f"modules: {definition.name} is listed twice")
        definitions[definition.name] = definition
    return definitions


def _definition(module: object) -> PluginDefinition:
    """The definition in a package. Raises ValueError when it has none, or one whose name is not valid."""
    try:
        definition: PluginDefinition = import_module(str(module)).DEFINITION
    except ModuleNotFoundError as error:
        raise ValueError(f"modules: {module} cannot be imported: {error}") from None
    except AttributeError:
        raise ValueError(f"modules: {module} has no DEFINITION") from None
    if not is_supplier_name(definition.name):
        raise ValueError(f"modules: {module}: the name must be {SUPPLIER_NAME_RULE}")
    return definition


def _settings(definition: PluginDefinition, values: Any) -> BaseModel:
    """The settings of a plug-in. Raises ValueError that names the field, and never its value."""
    if isinstance(values, definition.settings):
        return values
    try:
        return definition.settings.model_validate(values)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in (definition.name, *wrong["loc"]))
        raise ValueError(f"{place}: {wrong['msg']}") from None
