//! The keys of health checks, and of what follows from them.

use super::probe::{COMMAND, USER};
use super::{Key, Table};

/// `services[].health`
pub(crate) const CHECK: Table = Table {
    at: "services[].health",
    about: "A check of each real server, or a list of checks of which all must pass. It has one key for what is asked, \
            from `http` to `file`, and others for where and how often. The name of what is asked alone, as in \
            `health: tcp`, is a check with nothing but defaults.",
    keys: &[
        Key {
            name: "name",
            takes: "letters, digits, `.`, `_`, `-`, `:`",
            default: "what is asked",
            about: "What `lbctl health` calls it. A check keeps its state over a reload as long as its name stays.",
        },
        Key {
            name: "http",
            takes: "path or [keys](#serviceshealthhttp)",
            default: "",
            about: "A request over HTTP.",
        },
        Key {
            name: "https",
            takes: "path or [keys](#serviceshealthhttp)",
            default: "",
            about: "A request over HTTPS. The certificate is verified.",
        },
        Key {
            name: "tcp",
            takes: "[keys](#serviceshealthtcp)",
            default: "",
            about: "A TCP connection, and perhaps an answer over it.",
        },
        Key {
            name: "udp",
            takes: "[keys](#serviceshealthudp)",
            default: "",
            about: "A datagram. Without an expected answer only an ICMP error is a failure.",
        },
        Key {
            name: "dns",
            takes: "name or [keys](#serviceshealthdns)",
            default: "",
            about: "A DNS query.",
        },
        Key {
            name: "ping",
            takes: "nothing",
            default: "",
            about: "An ICMP echo request.",
        },
        Key {
            name: "smtp",
            takes: "[keys](#serviceshealthsmtp)",
            default: "",
            about: "The greeting of a mail server.",
        },
        Key {
            name: "redis",
            takes: "[keys](#serviceshealthredis)",
            default: "",
            about: "`PING` to a Redis server, and its role.",
        },
        Key {
            name: "zookeeper",
            takes: "[keys](#serviceshealthzookeeper)",
            default: "",
            about: "`ruok` to a ZooKeeper server, or its role by `srvr`. The server must allow the word: \
                    `4lw.commands.whitelist` in its `zoo.cfg`.",
        },
        Key {
            name: "grpc",
            takes: "[keys](#serviceshealthgrpc)",
            default: "",
            about: "The gRPC health service, `grpc.health.v1.Health/Check`.",
        },
        Key {
            name: "script",
            takes: "path, list of program and arguments, or [keys](#serviceshealthscript)",
            default: "",
            about: "A program of your own. Exit status 0 is up, 1 is down, 2 to 255 are up with weight `status - 2`. It \
                    finds `LBD_REAL_ADDRESS`, `LBD_REAL_PORT` and `LBD_CHECK` in its environment.",
        },
        Key {
            name: "file",
            takes: "path",
            default: "",
            about: "A file with a number: the weight, or one below 0 for down.",
        },
        Key {
            name: "address",
            takes: "`ADDRESS`",
            default: "the real server's",
            about: "Whom to ask instead of the real server.",
        },
        Key {
            name: "port",
            takes: "1 to 65535",
            default: "the real server's",
            about: "Which port to ask.",
        },
        Key {
            name: "via",
            takes: "`real` or `vip`",
            default: "`real`",
            about: "With `vip` the probe is sent to the service's address on the way that its packets take to this real \
                    server: to its MAC address with `dr`, in the tunnel with `tun`. So a real server without the address \
                    on `lo`, or with a broken tunnel, is found out. With `nat` both are the same.",
        },
        Key {
            name: "interval",
            takes: "duration, 100ms to 1d",
            default: "`2s`",
            about: "From the start of one probe to the start of the next.",
        },
        Key {
            name: "timeout",
            takes: "duration, 10ms to less than `interval`",
            default: "`1s`, but no more than half of `interval`",
            about: "How long a probe may take.",
        },
        Key {
            name: "rise",
            takes: "1 to 1000",
            default: "`2`",
            about: "So many passes in a row bring it up.",
        },
        Key {
            name: "fall",
            takes: "1 to 1000",
            default: "`3`",
            about: "So many failures in a row take it down.",
        },
        Key {
            name: "retry",
            takes: "duration, 10ms to `interval`",
            default: "`interval`",
            about: "From the start of a failed probe to the next, while it is still up.",
        },
        Key {
            name: "initial",
            takes: "`up` or `down`",
            default: "`up`",
            about: "What it is taken for until there is a verdict. A real server that was down before a restart of the \
                    daemon, or before it was removed, starts down in any case.",
        },
    ],
};

/// `services[].quorum`
pub(crate) const QUORUM: Table = Table {
    at: "services[].quorum",
    about: "How much of the service must be alive. A number alone is the `weight`.",
    keys: &[
        Key {
            name: "weight",
            takes: "1 to 4294967295",
            default: "`1`",
            about: "The sum of the weights of real servers that are up.",
        },
        Key {
            name: "hysteresis",
            takes: "0 to less than `weight`",
            default: "`0`",
            about: "How far beyond it the sum must be to gain the quorum, and how far below to lose it.",
        },
        Key {
            name: "on_up",
            takes: "[script](#serviceson_up)",
            default: "none",
            about: "Run when the quorum is gained.",
        },
        Key {
            name: "on_down",
            takes: "[script](#serviceson_up)",
            default: "none",
            about: "Run when the quorum is lost.",
        },
    ],
};

/// `services[].on_up`
pub(crate) const NOTIFY: Table = Table {
    at: "services[].on_up",
    about: "A program that is told of a change. A path alone, or a list of program and arguments, is its `command`. It finds \
            `LBD_EVENT`, `LBD_SERVICE`, `LBD_SERVICE_ADDRESS`, `LBD_REAL` and `LBD_REASON` in its environment. Nobody but \
            root and its own user may be able to change it.",
    keys: &[
        COMMAND,
        USER,
        Key {
            name: "timeout",
            takes: "duration, 100ms to 1h",
            default: "`30s`",
            about: "How long it may take; then it is killed with all that it has started.",
        },
    ],
};

/// `services[].sorry`
pub(crate) const SORRY: Table = Table {
    at: "services[].sorry",
    about: "The server that serves while the quorum is lost, alone. Text alone is its `address`.",
    keys: &[
        Key {
            name: "address",
            takes: "`ADDRESS` or `ADDRESS:PORT`",
            default: "required",
            about: "Where it is.",
        },
        Key {
            name: "method",
            takes: "`dr`, `tun` or `nat`",
            default: "the service's",
            about: "How packets reach it.",
        },
    ],
};

/// `services[].damping`
pub(crate) const DAMPING: Table = Table {
    at: "services[].damping",
    about: "When a real server that comes and goes is kept out for a while. `off` turns it off.",
    keys: &[
        Key {
            name: "failures",
            takes: "2 to 1000",
            default: "`5`",
            about: "So many failures ...",
        },
        Key {
            name: "within",
            takes: "duration, 1s to 1d",
            default: "`1m`",
            about: "... within this time ...",
        },
        Key {
            name: "hold",
            takes: "duration, 1s to 1d",
            default: "`30s`",
            about: "... and it is kept out until it was well for so long.",
        },
    ],
};
