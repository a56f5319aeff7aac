//! The keys of health checks, and of what follows from them.

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

/// `services[].health.http`
pub(crate) const HTTP: Table = Table {
    at: "services[].health.http",
    about: "A request over HTTP or HTTPS. Text alone is its `path`.",
    keys: &[
        Key {
            name: "path",
            takes: "path",
            default: "`/`",
            about: "What is requested, with the query if there is one.",
        },
        Key {
            name: "host",
            takes: "`NAME` or `NAME:PORT`",
            default: "the address that is asked",
            about: "The `Host` header.",
        },
        Key {
            name: "method",
            takes: "word",
            default: "`GET`",
            about: "The request method.",
        },
        Key {
            name: "headers",
            takes: "names with values",
            default: "none",
            about: "Further headers of the request.",
        },
        Key {
            name: "status",
            takes: "number, range such as `200-299`, or a list of these",
            default: "`200-299`",
            about: "Which statuses are good.",
        },
        Key {
            name: "contains",
            takes: "text or list",
            default: "none",
            about: "Texts that the body must have in it.",
        },
        Key {
            name: "matches",
            takes: "regular expression or list",
            default: "none",
            about: "Expressions of which each must be found in the body.",
        },
        Key {
            name: "matches_not",
            takes: "regular expression or list",
            default: "none",
            about: "Expressions of which none may be found in the body.",
        },
        Key {
            name: "digest",
            takes: "`sha256:HEX` or `md5:HEX`",
            default: "none",
            about: "The digest of the whole body; that of `genhash` is `md5`.",
        },
        Key {
            name: "body_limit",
            takes: "1 to 4194304",
            default: "`65536`",
            about: "How many bytes of the body are read, when it matters at all.",
        },
        Key {
            name: "version",
            takes: "`1.1` or `2`",
            default: "`1.1`",
            about: "The version of HTTP. Version 2 without TLS is spoken by prior knowledge.",
        },
        Key {
            name: "sni",
            takes: "name",
            default: "`host`, or the address that is asked",
            about: "With `https`: the name that is asked for, and that the certificate must be for.",
        },
        Key {
            name: "ca",
            takes: "path",
            default: "the system's",
            about: "With `https`: a file with the certificates of the authorities to trust.",
        },
        Key {
            name: "verify",
            takes: "`true` or `false`",
            default: "`true`",
            about: "With `https`: whether the certificate is verified.",
        },
    ],
};

/// `services[].health.tls`
pub(crate) const TLS: Table = Table {
    at: "services[].health.tls",
    about: "TLS below another protocol. `true` alone is TLS with nothing but defaults.",
    keys: &[
        Key {
            name: "sni",
            takes: "name",
            default: "the address that is asked",
            about: "The name that is asked for, and that the certificate must be for.",
        },
        Key {
            name: "ca",
            takes: "path",
            default: "the system's",
            about: "A file with the certificates of the authorities to trust.",
        },
        Key {
            name: "verify",
            takes: "`true` or `false`",
            default: "`true`",
            about: "Whether the certificate is verified.",
        },
    ],
};

/// `services[].health.tcp`
pub(crate) const TCP: Table = Table {
    at: "services[].health.tcp",
    about: "A TCP connection. Escapes as `\\r\\n` need double quotes.",
    keys: &[
        Key {
            name: "send",
            takes: "text",
            default: "nothing",
            about: "What is sent once there is a connection.",
        },
        Key {
            name: "send_hex",
            takes: "hex digits",
            default: "nothing",
            about: "What is sent, where it is no text.",
        },
        Key {
            name: "expect",
            takes: "text",
            default: "nothing",
            about: "What the answer must have in it.",
        },
        Key {
            name: "matches",
            takes: "regular expression",
            default: "nothing",
            about: "What must be found in the answer.",
        },
        Key {
            name: "tls",
            takes: "`true` or [keys](#serviceshealthtls)",
            default: "none",
            about: "The connection is made over TLS.",
        },
    ],
};

/// `services[].health.udp`
pub(crate) const UDP: Table = Table {
    at: "services[].health.udp",
    about: "A datagram.",
    keys: &[
        Key {
            name: "send",
            takes: "text",
            default: "an empty datagram",
            about: "What is sent.",
        },
        Key {
            name: "send_hex",
            takes: "hex digits",
            default: "nothing",
            about: "What is sent, where it is no text.",
        },
        Key {
            name: "expect",
            takes: "text",
            default: "nothing",
            about: "What the answer must have in it.",
        },
        Key {
            name: "matches",
            takes: "regular expression",
            default: "nothing",
            about: "What must be found in the answer.",
        },
    ],
};

/// `services[].health.dns`
pub(crate) const DNS: Table = Table {
    at: "services[].health.dns",
    about: "A DNS query. Text alone is its `name`.",
    keys: &[
        Key {
            name: "name",
            takes: "domain name",
            default: "`.`",
            about: "The name to ask for.",
        },
        Key {
            name: "record",
            takes: "type of record",
            default: "`SOA`",
            about: "The type of record to ask for.",
        },
        Key {
            name: "expect",
            takes: "value or list",
            default: "any answer without error",
            about: "Values of which one must be among the answers.",
        },
        Key {
            name: "transport",
            takes: "`udp` or `tcp`",
            default: "`udp`",
            about: "How it is asked. A truncated answer is asked for again over TCP.",
        },
    ],
};

/// `services[].health.smtp`
pub(crate) const SMTP: Table = Table {
    at: "services[].health.smtp",
    about: "The greeting of a mail server.",
    keys: &[Key {
        name: "helo",
        takes: "name",
        default: "`localhost`",
        about: "The name that the director gives for itself.",
    }],
};

/// `services[].health.redis`
pub(crate) const REDIS: Table = Table {
    at: "services[].health.redis",
    about: "`PING` to a Redis server.",
    keys: &[
        Key {
            name: "user",
            takes: "text",
            default: "the default user",
            about: "The user to authenticate as.",
        },
        Key {
            name: "password",
            takes: "text",
            default: "none",
            about: "The password to authenticate with. It is never shown.",
        },
        Key {
            name: "role",
            takes: "`master` or `replica`",
            default: "any",
            about: "The role that it must have; a replica must be connected to its master too.",
        },
        Key {
            name: "tls",
            takes: "`true` or [keys](#serviceshealthtls)",
            default: "none",
            about: "The connection is made over TLS.",
        },
    ],
};

/// `services[].health.zookeeper`
pub(crate) const ZOOKEEPER: Table = Table {
    at: "services[].health.zookeeper",
    about: "A four-letter word to a ZooKeeper server.",
    keys: &[Key {
        name: "role",
        takes: "`leader` or `follower`",
        default: "any",
        about: "The role that it must have.",
    }],
};

/// `services[].health.grpc`
pub(crate) const GRPC: Table = Table {
    at: "services[].health.grpc",
    about: "The gRPC health service.",
    keys: &[
        Key {
            name: "service",
            takes: "text",
            default: "the server as a whole",
            about: "The service that is asked about.",
        },
        Key {
            name: "host",
            takes: "`NAME` or `NAME:PORT`",
            default: "the address that is asked",
            about: "The `:authority`.",
        },
        Key {
            name: "tls",
            takes: "`true` or [keys](#serviceshealthtls)",
            default: "none",
            about: "The connection is made over TLS.",
        },
    ],
};

/// `services[].health.script`
pub(crate) const SCRIPT: Table = Table {
    at: "services[].health.script",
    about: "A program. Nobody but root and its own user may be able to change it.",
    keys: &[
        Key {
            name: "command",
            takes: "path, or list of program and arguments",
            default: "required",
            about: "What is run; no shell reads it.",
        },
        Key {
            name: "user",
            takes: "name",
            default: "the daemon's",
            about: "The user that it runs as.",
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
        Key {
            name: "command",
            takes: "path, or list of program and arguments",
            default: "required",
            about: "What is run; no shell reads it.",
        },
        Key {
            name: "user",
            takes: "name",
            default: "the daemon's",
            about: "The user that it runs as.",
        },
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
