# Copyright (c) 2026, zero.downtime contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  region:
    description:
      - Region of the target groups, such as V(eu-west-1). Without it, what the environment (E(AWS_REGION),
        E(AWS_DEFAULT_REGION)) or the profile has.
    type: str
  profile:
    description:
      - Profile of C(~/.aws/config) or C(~/.aws/credentials). Without it, E(AWS_PROFILE), and the other ways by which
        boto3 finds credentials.
    type: str
  access_key:
    description:
      - Access key, where neither the environment, a profile nor a role of the machine brings one.
    type: str
  secret_key:
    description:
      - The secret that belongs to O(access_key).
    type: str
  session_token:
    description:
      - The token of temporary credentials.
    type: str
  endpoint_url:
    description:
      - Address of the API, where it is another one than Amazon's, such as that of a stage. Without it,
        E(AWS_ENDPOINT_URL).
    type: str
requirements:
  - boto3 >= 1.34
notes:
  - Runs on the controller, in the Python that runs modules there, which needs boto3.
"""
