"""Who may come in: the owner with a password, and a token for every client."""

from __future__ import annotations

from dataclasses import dataclass

from hearth.errors import HearthError
from hearth.home_assistant import onboarding, tokens
from hearth.home_assistant.client import Client, NotThereError
from hearth.home_assistant.duty import deployer
from hearth.home_assistant.home import Home, print_of
from hearth.home_assistant.login import Owner, logged_in
from hearth.role.tokens import DEPLOYER


@dataclass(frozen=True)
class Onboarded:
    """The owner is there, and onboarding is done.

    Args:
        owner: the owner.
        unwanted: domains that onboarding adds by itself, and that should not stay.
    """

    owner: Owner
    unwanted: tuple[str, ...] = ()

    def missing(self, home: Home) -> list[str]:
        """The steps that are left."""
        return [onboarding.SAID[step] for step in onboarding.left(home.visitor)]

    def mend(self, home: Home) -> None:
        """Do them."""
        new = "user" in onboarding.left(home.visitor)
        onboarding.onboard(home.visitor, self.owner, self.unwanted)
        if new:
            home.tell("owner", print_of(self.owner.password))


@dataclass(frozen=True)
class Tokens:
    """Every client has a token that holds.

    Args:
        owner: whose tokens they are.
        clients: their names, the run's own among them.
    """

    owner: Owner
    clients: tuple[str, ...]

    def missing(self, home: Home) -> list[str]:
        """The clients that need one."""
        try:
            plan = self._plan(home, deployer(home))
        except NotThereError:
            raise
        except HearthError:  # without access of our own nothing is known of the others
            return [f"make the token of {client}" for client in self.clients]
        made = [f"make the token of {client}" for client in plan.make]
        added = [f"make the next token of {client}" for client in plan.add]
        forgotten = [f"revoke the token of {client}" for client in plan.forget]
        replaced = [f"revoke the old token of {client}" for client in plan.replaced]
        return [*made, *added, *forgotten, *replaced]

    def mend(self, home: Home) -> None:
        """Make and revoke them; each is kept as soon as it is made."""
        own = home.token(DEPLOYER)
        if own is None or not tokens.holds(home.visitor, own):
            with logged_in(home.visitor, self.owner) as session:
                self._carry_out(home, session, self._plan(home, session))
        else:
            session = deployer(home)
            self._carry_out(home, session, self._plan(home, session))

    def _plan(self, home: Home, session: Client) -> tokens.TokenPlan:
        known = {client: token for client in self.clients if (token := home.token(client))}
        second = {client: other for client in self.clients if (other := home.second(client))}
        listed = tokens.listed(session)
        return tokens.plan_tokens(
            self.clients, known, listed, lambda token: tokens.holds(home.visitor, token), second
        )

    def _carry_out(self, home: Home, session: Client, plan: tokens.TokenPlan) -> None:
        for token_id in plan.revoke:
            tokens.revoke(session, token_id)
        for client in plan.make:
            home.keep_token(client, tokens.make(session, client))
        for client in plan.add:
            home.keep_second(client, tokens.make(session, client))
        for client in plan.forget:
            home.forget_token(client)


@dataclass(frozen=True)
class Password:
    """The owner's password is the secret's. Whoever changes it in Home Assistant alone keeps that one."""

    owner: Owner

    def missing(self, home: Home) -> list[str]:
        """Whether the secret has changed since we last set it."""
        same = home.told("owner") in (None, print_of(self.owner.password))
        return [] if same else ["change the owner's password"]

    def mend(self, home: Home) -> None:
        """Set it; sessions and tokens go on."""
        session = deployer(home)
        user = session.ask("auth/current_user", "ask who the owner is")
        session.ask(
            "config/auth_provider/homeassistant/admin_change_password",
            "change the owner's password",
            user_id=user["id"],
            password=self.owner.password,
        )
        home.tell("owner", print_of(self.owner.password))
