#!/usr/bin/python
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interfaces with xdpwho attached, or without."""

DOCUMENTATION = r"""
module: xdpwho
short_description: Attach xdpwho to interfaces, or detach it
version_added: 1.0.0
description:
  - Counts the source addresses of packets in an XDP program that stays attached without a process.
  - Never touches a program of somebody else; fails where an interface holds one.
author:
  - The authors of xdpwho
options:
  interfaces:
    description: Names of the interfaces.
    type: list
    elements: str
    required: true
  state:
    description: Attached, or not.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description: The driver's hook, the kernel's generic one, or whichever there is.
    type: str
    choices: [auto, native, generic]
    default: auto
  reader:
    description: A file that the kernel prints into, or bpftool's dump.
    type: str
    choices: [auto, iterator, dump]
    default: auto
  max_sources:
    description: Sources that the table has room for; the default fits into 64 MiB.
    type: int
  file_mode:
    description: Permissions of the file that prints the sources, in octal and in quotes.
    type: str
    default: "0400"
  replace:
    description: Attach anew where the options differ; counts are lost. Otherwise that is a failure.
    type: bool
    default: false
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
    description: Says what would be done, also where the package is not installed yet.
    support: full
  diff_mode:
    description: Shows what is attached before and after.
    support: full
"""

EXAMPLES = r"""
- name: Count who sends to eth0
  xdpwho.xdpwho.xdpwho:
    interfaces: [eth0]
    file_mode: "0444"

- name: Leave no trace
  xdpwho.xdpwho.xdpwho:
    interfaces: [eth0]
    state: absent
"""

RETURN = r"""
interfaces:
  description: The interfaces as C(xdpwho attach -o json) describes them; in check mode, the commands alone.
  returned: always
  type: list
  elements: dict
commands:
  description: What would be run.
  returned: in check mode
  type: list
  elements: str
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule


def run(module, words):
    """Runs the command and gives its document; fails with its own words."""
    code, out, err = module.run_command([module.params["executable"]] + words)
    try:
        document = json.loads(out)
    except ValueError:
        module.fail_json(msg=err.strip() or out.strip(), rc=code)
    return code, document


def place(params):
    words = []
    for option in ("netns", "bpffs"):
        if params[option] is not None:
            words += ["--" + option, params[option]]
    return words


def standing(module):
    """What a diff shows of each interface: whose it is, and the options that were asked for."""
    words = ["status", "-o", "json"] + place(module.params) + ["--"] + module.params["interfaces"]
    names = wanted(module.params)["options"]
    found = {}
    for each in run(module, words)[1].get("interfaces", []):
        options = each["options"] and dict((name, each["options"][name]) for name in names)
        found[each["interface"]] = dict(ownership=each["ownership"], options=options)
    return found


def wanted(params):
    """Likewise, as it is to be. The default size of the table is for the host to know."""
    options = dict(mode=params["mode"], reader=params["reader"], file_mode=params["file_mode"].zfill(4))
    if params["max_sources"] is not None:
        options["max_sources"] = params["max_sources"]
    return dict(ownership="ours", options=options)


def attach_words(params):
    words = ["--mode", params["mode"], "--reader", params["reader"], "--file-mode", params["file_mode"]]
    if params["max_sources"] is not None:
        words += ["--max-sources", str(params["max_sources"])]
    if params["replace"]:
        words.append("--replace")
    return words


def main():
    module = AnsibleModule(
        argument_spec=dict(
            interfaces=dict(type="list", elements="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            mode=dict(type="str", choices=["auto", "native", "generic"], default="auto"),
            reader=dict(type="str", choices=["auto", "iterator", "dump"], default="auto"),
            max_sources=dict(type="int"),
            file_mode=dict(type="str", default="0400"),
            replace=dict(type="bool", default=False),
            netns=dict(type="str"),
            bpffs=dict(type="path"),
            executable=dict(type="path", default="/usr/bin/xdpwho"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    present = params["state"] == "present"
    words = ["attach"] + attach_words(params) if present else ["detach"]
    words += place(params) + ["-o", "json"]
    if module.check_mode:
        words.append("--dry-run")
        if not os.path.exists(params["executable"]):
            module.exit_json(changed=present, interfaces=[], commands=[])
    before = standing(module) if module._diff else None
    code, document = run(module, words + ["--"] + params["interfaces"])
    if code != 0:
        failure = document if "message" in document else (document.get("failed") or [{}])[0]
        hint = failure.get("hint")
        message = failure.get("message", "xdpwho failed")
        module.fail_json(msg=message + ("; " + hint if hint else ""), code=failure.get("code"), rc=code)
    result = dict(changed=document["changed"], interfaces=document.get("interfaces", []))
    if "commands" in document:
        result["commands"] = document["commands"]
    if module._diff:
        if module.check_mode:
            each = wanted(params) if present else dict(ownership="none", options=None)
            after = dict((name, each) for name in before)
        else:
            after = standing(module)
        result["diff"] = dict(before=before, after=after)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
