"""A browser without JavaScript, for tests of the pages."""

import re
from urllib.parse import urlencode

from service_factories import PASSWORD


class Browser:
    """Follows no redirect by itself, keeps cookies, sends forms back with their hidden fields."""

    def __init__(self, client):
        self.client = client

    async def get(self, path):
        answer = await self.client.get(path, allow_redirects=False)
        return answer.status, await answer.text()

    async def post(self, page, path, *pairs, headers=None):
        """Send the form of `page` to `path`."""
        _, text = await self.get(page)
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text)
        fields = [*dict(hidden).items(), *pairs]
        return await self.client.post(
            path,
            data=urlencode(fields),
            headers={"Content-Type": "application/x-www-form-urlencoded", **(headers or {})},
            allow_redirects=False,
        )

    async def log_in(self, email, password=PASSWORD, page="/login"):
        return await self.post(page, "/login", ("email", email), ("password", password))
