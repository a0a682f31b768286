"""The first page: a customer's reservations, or what needs an operator."""

from aiohttp import web

from provisioner.domain.access import Permission
from provisioner.service.views.home import home
from provisioner.service.web.lease import overview_page
from provisioner.service.web.render import page
from provisioner.service.web.session import Visitor, page_for


@page_for(Permission.RENT)
async def show(request: web.Request, who: Visitor) -> web.StreamResponse:
    if not who.is_operator:
        return await overview_page(request, who)
    given = request.query.get("page", "")
    number = int(given) if given.isdecimal() and 0 < len(given) < 6 and int(given) else 1
    async with who.services.database.read() as session:
        shown = await home(session, number, who.services.clock())
    return page(request, "home.html", who, home=shown, number=number)
