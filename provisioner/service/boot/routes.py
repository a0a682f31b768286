"""The URLs that machines know."""

from aiohttp import web

from provisioner.service.boot import files, identity, script


def add_routes(app: web.Application) -> None:
    app.router.add_get("/boot/ipxe", script.ipxe)
    app.router.add_get("/boot/files/{name}", files.boot_file)
    app.router.add_post("/boot/identity", identity.exchange)
    app.router.add_post("/boot/ready", identity.ready)
    app.router.add_get("/images/{digest}/manifest.json", files.image_manifest)
    app.router.add_get("/images/{digest}/chunks/{number}", files.image_chunk)
