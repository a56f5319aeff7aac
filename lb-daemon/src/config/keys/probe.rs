//! The keys of what a health check asks.

use super::{Key, Table};

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
        SEND_HEX,
        EXPECT,
        MATCHES,
        TLS_BELOW,
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
        SEND_HEX,
        EXPECT,
        MATCHES,
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
        TLS_BELOW,
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
        TLS_BELOW,
    ],
};

/// `services[].health.script`
pub(crate) const SCRIPT: Table = Table {
    at: "services[].health.script",
    about: "A program. Nobody but root and its own user may be able to change it.",
    keys: &[COMMAND, USER],
};

// Keys that several of these tables have.

const SEND_HEX: Key = Key {
    name: "send_hex",
    takes: "hex digits",
    default: "nothing",
    about: "What is sent, where it is no text.",
};

const EXPECT: Key = Key {
    name: "expect",
    takes: "text",
    default: "nothing",
    about: "What the answer must have in it.",
};

const MATCHES: Key = Key {
    name: "matches",
    takes: "regular expression",
    default: "nothing",
    about: "What must be found in the answer.",
};

const TLS_BELOW: Key = Key {
    name: "tls",
    takes: "`true` or [keys](#serviceshealthtls)",
    default: "none",
    about: "The connection is made over TLS.",
};

pub(super) const COMMAND: Key = Key {
    name: "command",
    takes: "path, or list of program and arguments",
    default: "required",
    about: "What is run; no shell reads it.",
};

pub(super) const USER: Key = Key {
    name: "user",
    takes: "name",
    default: "the daemon's",
    about: "The user that it runs as.",
};
