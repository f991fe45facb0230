# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of Elastic Load Balancing, asked through boto3. Private to the collection.

Each refusal is one sentence that names the call. Throttled calls are made again with growing, jittered pauses by
botocore itself.
"""

from __future__ import annotations

import logging
import typing as t

from ansible_collections.zero.downtime.plugins.module_utils._errors import DowntimeError, NoAnswer, shown_url

try:
    import boto3
    import botocore.config
    import botocore.exceptions

    MISSING = None
except ImportError as _error:
    MISSING = str(_error)

# Seconds for a connection and for an answer, and how often a call is made at most.
CONNECT, ANSWER, TRIES = 5, 20, 6
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
UNKNOWN = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "AuthFailure",
    "InvalidSignature",
)
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OptInRequired")
THROTTLED = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException")


class Throttled(DowntimeError):
    """The API refuses to be asked that often: whoever waits for something may ask again later."""


class NoGroup(DowntimeError):
    """A target group that is not there."""


class Refused(DowntimeError):
    """A refusal of the API, with its code."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


def client_of(params: t.Mapping[str, t.Any], service: str = "elbv2") -> t.Any:
    """A client of a service of AWS by a module's options. Raises DowntimeError where one is not enough."""
    if MISSING:
        raise DowntimeError(
            f"driver elbv2 needs boto3 on the controller, in the Python that runs its modules there ({MISSING}); "
            "'pip install boto3' installs it"
        )
    # It would write each request's headers there, the token of temporary credentials among them.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    config = botocore.config.Config(
        connect_timeout=CONNECT, read_timeout=ANSWER, retries={"mode": "standard", "total_max_attempts": TRIES}
    )
    try:
        session = boto3.session.Session(
            profile_name=params.get("profile"),
            region_name=params.get("region"),
            aws_access_key_id=params.get("access_key"),
            aws_secret_access_key=params.get("secret_key"),
            aws_session_token=params.get("session_token"),
        )
        if not session.region_name:
            raise DowntimeError(
                "region is missing; one here, AWS_REGION in the environment, or a region in the profile is needed"
            )
        if session.get_credentials() is None:
            raise DowntimeError(
                "no credentials of AWS were found: neither as access_key and secret_key, nor in the environment, nor in"
                " a profile, nor by the machine's role; one of these is needed"
            )
        return session.client(service, endpoint_url=params.get("endpoint_url"), config=config)
    except botocore.exceptions.ProfileNotFound as error:
        raise DowntimeError(
            f"profile is '{params.get('profile')}'; a profile of ~/.aws/config or ~/.aws/credentials is accepted"
        ) from error
    except botocore.exceptions.BotoCoreError as error:
        raise DowntimeError(f"AWS cannot be asked: {error}") from error
    except ValueError as error:
        raise DowntimeError(
            f"endpoint_url is '{shown_url(str(params.get('endpoint_url')))}'; a whole address such as https://host:port"
            " is accepted"
        ) from error


class Api:
    """The calls that the driver makes, each with its refusals as sentences.

    :param client: a client of boto3.
    :param service: what its service is called.
    """

    def __init__(self, client: t.Any, service: str = "Elastic Load Balancing") -> None:
        self.client, self.service = client, service

    @property
    def region(self) -> str:
        return str(self.client.meta.region_name)

    def groups(self, names: t.Sequence[str]) -> list[dict[str, t.Any]]:
        """The target groups of these names."""
        try:
            return list(self.call("describe_target_groups", Names=list(names))["TargetGroups"])
        except Refused as error:
            if error.code != "TargetGroupNotFound":
                raise
            if len(names) == 1:
                raise NoGroup(f"there is no target group {names[0]} in {self.region}") from error
        # One of them is not there, and only asking for each tells which.
        return [group for name in names for group in self.groups([name])]

    def attributes(self, arn: str) -> dict[str, str]:
        return {
            one["Key"]: one["Value"]
            for one in self.call("describe_target_group_attributes", TargetGroupArn=arn)["Attributes"]
        }

    def health(self, arn: str) -> list[dict[str, t.Any]]:
        return list(self.call("describe_target_health", TargetGroupArn=arn)["TargetHealthDescriptions"])

    def pages(self, operation: str, key: str, **asked: t.Any) -> list[dict[str, t.Any]]:
        """All entries of an answer that comes in pages."""
        found, marker = [], {}
        while True:
            answer = self.call(operation, **asked, **marker)
            found += answer[key]
            if not answer.get("NextMarker"):
                return found
            marker = {"Marker": answer["NextMarker"]}

    def call(self, operation: str, **asked: t.Any) -> dict[str, t.Any]:
        name = "".join(word.capitalize() for word in operation.split("_"))
        try:
            return t.cast("dict[str, t.Any]", getattr(self.client, operation)(**asked))
        except botocore.exceptions.ClientError as error:
            raise self._refused(name, error) from error
        except botocore.exceptions.NoCredentialsError as error:
            raise DowntimeError(
                f"no credentials of AWS were found for {name}; access_key and secret_key, the environment, or a profile"
                " are accepted"
            ) from error
        except (
            botocore.exceptions.EndpointConnectionError,
            botocore.exceptions.ConnectTimeoutError,
            botocore.exceptions.ReadTimeoutError,
            botocore.exceptions.ConnectionClosedError,
        ) as error:
            raise NoAnswer(f"{name}: the API of {self.service} gave no answer ({error})") from error
        except botocore.exceptions.BotoCoreError as error:
            raise DowntimeError(f"{name} could not be asked: {error}") from error

    def _refused(self, name: str, error: t.Any) -> DowntimeError:
        code, words = str(error.response["Error"].get("Code")), str(
            error.response["Error"].get("Message") or ""
        ).rstrip(".")
        if code in EXPIRED:
            return Refused(
                f"{name} was refused, since the credentials have expired ({code}); run this again with new ones", code
            )
        if code in UNKNOWN:
            return Refused(
                f"{name} was refused, since AWS does not know the credentials ({code}); valid ones are needed", code
            )
        if code in DENIED:
            return Refused(f"{name} was refused: {words} ({code}); the policy in docs/elbv2.md allows it", code)
        if code in THROTTLED:
            return Throttled(f"{name} was refused {TRIES} times running, since the API is asked too often ({code})")
        return Refused(f"{name} was refused: {words} ({code})", code)
