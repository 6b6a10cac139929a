#!/usr/bin/python
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What xdpwho has attached, and what it has counted."""

DOCUMENTATION = r"""
module: xdpwho_info
short_description: What xdpwho has attached, and the sources that send most
version_added: 1.0.0
description:
  - Reads, and changes nothing. An interface without xdpwho is no failure, and has no sources.
author:
  - The authors of xdpwho
options:
  interfaces:
    description: Names of the interfaces; default, all that xdpwho is attached to.
    type: list
    elements: str
    default: []
  top:
    description: How many sources of each interface, those with most packets.
    type: int
    default: 20
  netns:
    description: Network namespace, a name, path or process id.
    type: str
  bpffs:
    description: Where the BPF file system is.
    type: path
  executable:
    description: Path of the command.
    type: path
    default: /usr/bin/xdpwho
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
"""

EXAMPLES = r"""
- name: Ask who sends
  xdpwho.xdpwho.xdpwho_info:
    top: 5
  register: who
"""

RETURN = r"""
interfaces:
  description: What C(xdpwho status -o json) says of each.
  returned: always
  type: list
  elements: dict
sources:
  description:
    - Records of the sources, as C(xdpwho dump -o ndjson) has them, of all interfaces, with the C(netns) of each.
  returned: always
  type: list
  elements: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec=dict(
            interfaces=dict(type="list", elements="str", default=[]),
            top=dict(type="int", default=20),
            netns=dict(type="str"),
            bpffs=dict(type="path"),
            executable=dict(type="path", default="/usr/bin/xdpwho"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    place = []
    for option in ("netns", "bpffs"):
        if params[option] is not None:
            place += ["--" + option, params[option]]

    def run(words):
        code, out, err = module.run_command([params["executable"]] + words)
        try:
            document = json.loads(out)
        except ValueError:
            module.fail_json(msg=err.strip() or out.strip(), rc=code)
        if document.get("type") == "error":
            module.fail_json(msg=document["message"], code=document["code"], rc=code)
        return document

    interfaces = run(["status", "-o", "json"] + place + ["--"] + params["interfaces"])["interfaces"]
    # What is attached in another namespace can be read there only.
    ours = {}
    for each in interfaces:
        if each["ownership"] == "ours":
            ours.setdefault(each["netns"], []).append(each["interface"])
    sources = []
    for netns, names in ours.items():
        elsewhere = [] if netns is None or params["netns"] is not None else ["--netns", netns]
        words = ["dump", "-o", "json", "--top", str(params["top"])] + place + elsewhere + ["--"] + names
        for each in run(words)["interfaces"]:
            sources += [dict(source, netns=netns) for source in each["sources"]]
    module.exit_json(changed=False, interfaces=interfaces, sources=sources)


if __name__ == "__main__":
    main()
