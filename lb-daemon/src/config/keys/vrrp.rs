//! The keys of `vrrp`.

use super::{Key, REQUIRED, Table};

/// `vrrp[]`
pub(crate) const VRRP: Table = Table {
    at: "vrrp[]",
    about: "A virtual router: addresses of which one director at a time is master. Services on them are served by the \
            master only. [VRRP](vrrp.md) says more, and what keepalived calls each of these.",
    keys: &[
        Key {
            name: "name",
            takes: "letters, digits, `.`, `_`, `-`, `:`",
            default: REQUIRED,
            about: "What `lbctl`, the logs and notify programs call it.",
        },
        Key {
            name: "interface",
            takes: "name",
            default: REQUIRED,
            about: "Where it speaks to the other directors. While it is down, the virtual router is in fault.",
        },
        Key {
            name: "virtual_router_id",
            takes: "1 to 255",
            default: REQUIRED,
            about: "Its number on that network, the same on all its directors.",
        },
        Key {
            name: "version",
            takes: "`2` or `3`",
            default: "`2`; IPv6: `3`",
            about: "The version of VRRP, the same on all its directors.",
        },
        Key {
            name: "priority",
            takes: "1 to 255",
            default: "`100`",
            about: "The highest is master. 255 is for the owner of the addresses, who is master at once.",
        },
        Key {
            name: "advert_interval",
            takes: "version 2: 1s to 255s, whole seconds; version 3: 10ms to 40950ms, in steps of 10ms",
            default: "`1s`",
            about: "The time between advertisements of the master.",
        },
        Key {
            name: "misses",
            takes: "1 to 100",
            default: "`3`",
            about: "After so many intervals without an advertisement a master is dead.",
        },
        Key {
            name: "preempt",
            takes: "`true`, `false` or a duration up to 1h",
            default: "`true`",
            about: "Whether it takes over from a master of lower priority: at once, never, or after that one was heard \
                    for so long.",
        },
        Key {
            name: "state",
            takes: "`backup` or `master`",
            default: "`backup`",
            about: "How it begins: `master` waits for one interval instead of all that may be missed.",
        },
        Key {
            name: "auth",
            takes: "[keys](#vrrpauth)",
            default: "none",
            about: "How advertisements are signed.",
        },
        Key {
            name: "addresses",
            takes: "list of `ADDRESS/PREFIX` or [keys](#vrrpaddresses)",
            default: REQUIRED,
            about: "The virtual addresses, all of one family: the master has them, and advertises them.",
        },
        Key {
            name: "excluded",
            takes: "list of `ADDRESS/PREFIX` or [keys](#vrrpaddresses)",
            default: "none",
            about: "Virtual addresses that the master has and does not advertise; of any family, and any number.",
        },
        Key {
            name: "routes",
            takes: "list of [routes](#vrrproutes)",
            default: "none",
            about: "Routes that the master has.",
        },
        Key {
            name: "peers",
            takes: "list of addresses",
            default: "none",
            about: "The other directors, when advertisements go to each of them instead of to the multicast group.",
        },
        Key {
            name: "virtual_mac",
            takes: "`true`, `false` or the name of an interface to make",
            default: "`false`; `true`: `vrrp.ID`, IPv6: `vrrp6.ID`",
            about: "Whether the addresses are at the virtual router's own MAC, the same on all its directors, instead of \
                    at the MAC of `interface`. They are then on an interface of their own (macvlan).",
        },
        Key {
            name: "source",
            takes: "address",
            default: "the interface's first",
            about: "The address that advertisements come from. Between equal priorities the higher one is master.",
        },
        Key {
            name: "group",
            takes: "letters, digits, `.`, `_`, `-`, `:`",
            default: "none",
            about: "Virtual routers of one group are masters together or not at all (a sync group).",
        },
        Key {
            name: "track",
            takes: "list of [keys](#vrrptrack)",
            default: "none",
            about: "What moves its priority, or makes it unfit to be master.",
        },
        Key {
            name: "notify",
            takes: "[keys](#vrrpnotify)",
            default: "none",
            about: "Programs that are run when its state changes.",
        },
        Key {
            name: "announce",
            takes: "[keys](#vrrpannounce)",
            default: "",
            about: "How neighbours are told where the addresses are now.",
        },
        Key {
            name: "check_addresses",
            takes: "`true` or `false`",
            default: "`true`",
            about: "Whether an advertisement that lists other addresses is dropped.",
        },
        Key {
            name: "debounce",
            takes: "[keys](#vrrpdebounce)",
            default: "",
            about: "For how long a change of an interface must last before it counts.",
        },
    ],
};

/// `vrrp[].auth`
pub(crate) const VRRP_AUTH: Table = Table {
    at: "vrrp[].auth",
    about: "How advertisements are signed.",
    keys: &[
        Key {
            name: "pass",
            takes: "1 to 8 bytes",
            default: "none",
            about: "Version 2 only: a password, sent in clear text. It keeps apart what was joined by mistake, and \
                    nobody who listens.",
        },
        Key {
            name: "hmac",
            takes: "[keys](#vrrpauthhmac)",
            default: "none",
            about: "Both versions: keys that sign, so that nobody without them can make an advertisement. As \
                    keepalived has it since 2.4 (`auth_hmac`).",
        },
    ],
};

/// `vrrp[].auth.hmac`
pub(crate) const VRRP_HMAC: Table = Table {
    at: "vrrp[].auth.hmac",
    about: "Keys that sign advertisements, the same on all directors. [VRRP](vrrp.md#signed-advertisements) says how they \
            are introduced and changed.",
    keys: &[
        Key {
            name: "keys",
            takes: "list of [keys](#vrrpauthhmackeys)",
            default: REQUIRED,
            about: "What others may have signed with.",
        },
        Key {
            name: "active",
            takes: "1 to 255",
            default: "the only key",
            about: "The id of the key that this director signs with.",
        },
        Key {
            name: "mode",
            takes: "`enforce`, `permissive` or `receive-only`",
            default: "`enforce`",
            about: "`receive-only` signs nothing, `permissive` signs and heeds also what is not signed, `enforce` heeds \
                    nothing that is not signed.",
        },
        Key {
            name: "anti_replay",
            takes: "`time` or `monotonic`",
            default: "`time`",
            about: "What keeps somebody from repeating an advertisement: its time, for which the clocks must agree, or \
                    only that each is newer than the one before.",
        },
        Key {
            name: "time_window",
            takes: "duration, 1s to 5m, whole seconds count",
            default: "three advertisement intervals, at least `5s`",
            about: "How far clocks may be apart.",
        },
    ],
};

/// `vrrp[].auth.hmac.keys[]`
pub(crate) const VRRP_KEY: Table = Table {
    at: "vrrp[].auth.hmac.keys[]",
    about: "A key.",
    keys: &[
        Key {
            name: "id",
            takes: "1 to 255",
            default: REQUIRED,
            about: "What the directors call it.",
        },
        Key {
            name: "key",
            takes: "32 to 64 bytes: `hex:` and digits, or text",
            default: REQUIRED,
            about: "The secret. `openssl rand -hex 32` makes the digits.",
        },
    ],
};

/// `vrrp[].addresses[]`
pub(crate) const VRRP_ADDRESS: Table = Table {
    at: "vrrp[].addresses[]",
    about: "A virtual address. Text alone is its `address`.",
    keys: &[
        Key {
            name: "address",
            takes: "`ADDRESS` or `ADDRESS/PREFIX`",
            default: REQUIRED,
            about: "The address, and how many leading bits make its network; without them, all.",
        },
        Key {
            name: "interface",
            takes: "name",
            default: "the virtual router's",
            about: "The interface that gets it.",
        },
        Key {
            name: "label",
            takes: "`INTERFACE:TEXT`, up to 15 characters",
            default: "none",
            about: "Its label, IPv4 only.",
        },
        Key {
            name: "scope",
            takes: "`global`, `site`, `link` or `host`",
            default: "`global`",
            about: "How far it is valid.",
        },
    ],
};

/// `vrrp[].routes[]`
pub(crate) const VRRP_ROUTE: Table = Table {
    at: "vrrp[].routes[]",
    about: "A route that the master has.",
    keys: &[
        Key {
            name: "to",
            takes: "`NETWORK/PREFIX`, an address, or `default`",
            default: REQUIRED,
            about: "Where it leads.",
        },
        Key {
            name: "via",
            takes: "address",
            default: "none",
            about: "The router; without one the destination is on the interface's own network.",
        },
        Key {
            name: "interface",
            takes: "name",
            default: "the one that leads to `via`, or the virtual router's",
            about: "The interface.",
        },
        Key {
            name: "source",
            takes: "address",
            default: "the kernel's choice",
            about: "The source of what the director itself sends there.",
        },
        Key {
            name: "metric",
            takes: "0 to 4294967295",
            default: "`0`; IPv6: `1024`",
            about: "Among several routes the lowest goes first.",
        },
        Key {
            name: "table",
            takes: "1 to 4294967295",
            default: "`254`, the main one",
            about: "The routing table.",
        },
    ],
};

/// `vrrp[].announce`
pub(crate) const VRRP_ANNOUNCE: Table = Table {
    at: "vrrp[].announce",
    about: "Gratuitous ARP, and unsolicited neighbour advertisements for IPv6: when it becomes master, and when another \
            master had to be put right.",
    keys: &[
        Key {
            name: "repeat",
            takes: "1 to 60",
            default: "`5`",
            about: "How many times each address is announced.",
        },
        Key {
            name: "delay",
            takes: "duration, 0s to 1h",
            default: "`5s`",
            about: "After so long all are announced again.",
        },
        Key {
            name: "refresh",
            takes: "duration, 1s to 1d",
            default: "never",
            about: "As long as it is master, all are announced this often.",
        },
    ],
};

/// `vrrp[].track[]`
pub(crate) const VRRP_TRACK: Table = Table {
    at: "vrrp[].track[]",
    about: "One thing that is looked at, and what it means. Without `weight` the virtual router is in fault while it is \
            down.",
    keys: &[
        Key {
            name: "interface",
            takes: "name",
            default: "none",
            about: "Whether an interface is up.",
        },
        Key {
            name: "script",
            takes: "path, or list of a path and arguments",
            default: "none",
            about: "Whether a program ends with exit status 0.",
        },
        Key {
            name: "process",
            takes: "name, up to 15 characters",
            default: "none",
            about: "Whether a process of this name runs.",
        },
        Key {
            name: "file",
            takes: "path",
            default: "none",
            about: "A number in a file. Above 0 is down; with a weight, the number times the weight moves the priority. A \
                    file that is not there is a 0.",
        },
        Key {
            name: "service",
            takes: "name of a service",
            default: "none",
            about: "Whether the service has as many live real servers as its quorum asks for.",
        },
        Key {
            name: "gateway",
            takes: "address or `default`",
            default: "none",
            about: "Whether a router answers: this one, or that of the default route.",
        },
        Key {
            name: "weight",
            takes: "-253 to 253",
            default: "fault while it is down",
            about: "How far it moves the priority: a positive number while it is up, a negative one while it is down. The \
                    sum stays between 1 and 254.",
        },
        Key {
            name: "interval",
            takes: "duration, 100ms to 1d",
            default: "`1s`",
            about: "With `script`: how often it runs.",
        },
        Key {
            name: "timeout",
            takes: "duration, 100ms to 1d",
            default: "`1s`",
            about: "With `script`: how long it may take.",
        },
        Key {
            name: "rise",
            takes: "1 to 255",
            default: "`1`",
            about: "With `script`: after so many successes it is up.",
        },
        Key {
            name: "fall",
            takes: "1 to 255",
            default: "`1`",
            about: "With `script`: after so many failures it is down.",
        },
        Key {
            name: "user",
            takes: "name of a user",
            default: "the daemon's",
            about: "With `script`: the user that it runs as.",
        },
    ],
};

/// `vrrp[].notify`
pub(crate) const VRRP_NOTIFY: Table = Table {
    at: "vrrp[].notify",
    about: "Programs that are run when its state changes, each a path, or a list of a path and arguments. The one for any \
            change gets keepalived's arguments after its own: `INSTANCE`, the name, the state and the priority. All have \
            `LBD_ROUTER`, `LBD_STATE` and `LBD_PRIORITY` in their environment.",
    keys: &[
        Key {
            name: "master",
            takes: "path, or list of a path and arguments",
            default: "none",
            about: "When it is master.",
        },
        Key {
            name: "backup",
            takes: "path, or list of a path and arguments",
            default: "none",
            about: "When it is a backup.",
        },
        Key {
            name: "fault",
            takes: "path, or list of a path and arguments",
            default: "none",
            about: "When it is in fault.",
        },
        Key {
            name: "stop",
            takes: "path, or list of a path and arguments",
            default: "none",
            about: "When it has stopped.",
        },
        Key {
            name: "any",
            takes: "path, or list of a path and arguments",
            default: "none",
            about: "At any change, after the one of the state.",
        },
        Key {
            name: "user",
            takes: "name of a user",
            default: "the daemon's",
            about: "The user that they run as.",
        },
        Key {
            name: "timeout",
            takes: "duration, 1s to 1h",
            default: "`30s`",
            about: "How long each may take before it is killed.",
        },
    ],
};

/// `vrrp[].debounce`
pub(crate) const VRRP_DEBOUNCE: Table = Table {
    at: "vrrp[].debounce",
    about: "For how long a change of its interface, and of interfaces that it tracks, must last before it counts.",
    keys: &[
        Key {
            name: "up",
            takes: "duration, 0s to 1h",
            default: "`0s`",
            about: "Until an interface counts as up.",
        },
        Key {
            name: "down",
            takes: "duration, 0s to 1h",
            default: "`0s`",
            about: "Until an interface counts as down.",
        },
    ],
};
