"""`fieldsync`: the command line."""

from __future__ import annotations

import sys

import cyclopts

from syncserver import logs

app = cyclopts.App(name="fieldsync", help="The backend between technicians' phones and the systems of the business.")

COMMANDS = {
    "dev": ("syncserver.cli.development:app", "Start everything on this machine, to try out and to write against."),
    "demo": ("syncserver.cli.handover:demo_app", "Tell the story of 25 technicians and a dispatcher."),
    "load": ("syncserver.cli.handover:load_app", "Drive a fleet of devices, and prove that nothing is lost."),
    "serve": ("syncserver.cli.serving:serve", "Answer devices and the office until told to stop."),
    "work": ("syncserver.cli.serving:work", "Do what recurs for every tenant until told to stop."),
    "migrate": ("syncserver.cli.serving:migrate", "Bring the database to this release's tables."),
    "import": ("syncserver.cli.importing:app", "Bring in records from a delimited file."),
    "catalog": ("syncserver.cli.catalog:app", "Check, show and compare catalogues."),
    "tenant": ("syncserver.cli.people:tenant_app", "Tenants: the businesses this service works for."),
    "person": ("syncserver.cli.people:person_app", "The people of a tenant."),
    "token": ("syncserver.cli.people:token_app", "Tokens of people and programs."),
    "device": ("syncserver.cli.people:device_app", "Devices of technicians."),
    "connections": ("syncserver.cli.connections:app", "Systems, and the connections to them."),
    "mappings": ("syncserver.cli.mappings:app", "What our records become in other systems."),
    "dead-letters": ("syncserver.cli.dead_letters:app", "Deliveries that wait for a person."),
    "signin": ("syncserver.cli.signin:app", "Where the people of a tenant sign in."),
    "keys": ("syncserver.cli.keys:app", "The secret keys of the installation."),
    "audit": ("syncserver.cli.audit:app", "Print the audit log."),
}
"""Where each command is. It loads what it needs when it runs, and nothing of the others."""

for name, (place, about) in COMMANDS.items():
    app.command(place, name=name, help=about)


def main() -> None:
    """Run the command that is named, and exit with its code. What it says is its answer alone; the log is beside it."""
    logs.configure("warning")
    sys.exit(app(result_action="return_value"))


if __name__ == "__main__":
    main()
