//! Lines that an ipvsadm user types, and what they ask the daemon for.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use super::failure::describe;
use super::render::style::Style;
use super::usage::problem;
use super::{Cli, Verb};
use crate::api::types::{
    AddReal, AddService, EditReal, EditService, MethodName, Persistence, Protocol, TimeoutsPatch,
};

fn parse(line: &str) -> Result<Verb, String> {
    let words = std::iter::once("lbctl").chain(line.split_whitespace());
    let words: Vec<OsString> = words.map(OsString::from).collect();
    Cli::try_parse_from(&words)
        .map(|cli| cli.verb)
        .map_err(|err| describe(&problem(&err, Cli::command(), &words), Style::PLAIN))
}

fn add_service(line: &str) -> AddService {
    match parse(line) {
        Ok(Verb::AddService(verb)) => verb.request(),
        other => panic!("{line}: {other:?}"),
    }
}

fn add_real(line: &str) -> AddReal {
    match parse(line) {
        Ok(Verb::AddReal(verb)) => verb.request(),
        other => panic!("{line}: {other:?}"),
    }
}

const SERVICE: &str = r#"{"protocol": "tcp", "address": "192.168.200.16:80"}"#;

#[test]
fn the_grammar_has_no_contradictions() {
    Cli::command().debug_assert();
}

#[test]
fn ipvsadms_commands_are_verbs() {
    for (line, verb) in [
        (
            "-A -t 192.0.2.1:80 -s wlc",
            "add-service -t 192.0.2.1:80 -s wlc",
        ),
        (
            "-At 192.0.2.1:80 -p 300",
            "add-service -t 192.0.2.1:80 -p 300",
        ),
        (
            "-E -t 192.0.2.1:80 -s rr",
            "edit-service -t 192.0.2.1:80 -s rr",
        ),
        ("-D -t 192.0.2.1:80", "del-service -t 192.0.2.1:80"),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 5",
            "add-real -t 192.0.2.1:80 -r 10.0.0.1 -m -w 5",
        ),
        (
            "-e -u 192.0.2.1:53 -r 10.0.0.1 -w 0",
            "edit-real -u 192.0.2.1:53 -r 10.0.0.1 -w 0",
        ),
        (
            "-d -t 192.0.2.1:80 -r 10.0.0.1",
            "del-real -t 192.0.2.1:80 -r 10.0.0.1",
        ),
        ("-Ln", "list -n"),
        ("-L -n --stats", "list -n --stats"),
        ("-Lnc", "list -nc"),
        ("-Z", "zero"),
        ("-S -n", "dump -n"),
        ("-Sn", "dump -n"),
        ("-R", "restore"),
        ("-C", "clear"),
    ] {
        assert_eq!(
            format!("{:?}", parse(line)),
            format!("{:?}", parse(verb)),
            "{line}"
        );
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn services_are_added_with_ipvsadms_flags() {
    let plain: AddService = serde_json::from_str(SERVICE).unwrap();
    let persistence = |timeout, mask| {
        Some(Persistence {
            timeout,
            mask,
            leave_quiesced: None,
        })
    };
    for (line, wanted) in [
        ("add-service -t 192.168.200.16:80", plain.clone()),
        ("add-service --tcp-service 192.168.200.16:80", plain.clone()),
        (
            "add-service -t 192.168.200.16:80 -s wlc",
            AddService {
                scheduler: Some("wlc".into()),
                ..plain.clone()
            },
        ),
        (
            "add-service -t 192.168.200.16:80 -p",
            AddService {
                persistence: persistence(360, None),
                ..plain.clone()
            },
        ),
        (
            "add-service -t 192.168.200.16:80 -p 300 -M 255.255.255.0",
            AddService {
                persistence: persistence(300, Some(24)),
                ..plain.clone()
            },
        ),
        (
            "add-service -p -M 24 -t 192.168.200.16:80",
            AddService {
                persistence: persistence(360, Some(24)),
                ..plain.clone()
            },
        ),
        (
            "add-service -t 192.168.200.16:80 -s sh -b sh-port,sh-fallback",
            AddService {
                scheduler: Some("sh".into()),
                scheduler_flags: vec!["sh-port".into(), "sh-fallback".into()],
                ..plain.clone()
            },
        ),
        (
            "add-service -u 192.168.200.16:53 -s rr -o --name dns",
            AddService {
                protocol: Protocol::Udp,
                address: "192.168.200.16:53".into(),
                scheduler: Some("rr".into()),
                one_packet: true,
                name: Some("dns".into()),
                ..plain.clone()
            },
        ),
        (
            "add-service -t 192.168.200.16 -p 60",
            AddService {
                address: "192.168.200.16:0".into(),
                persistence: persistence(60, None),
                ..plain.clone()
            },
        ),
        (
            "add-service -t 10.20.0.0/16:80 -s lblc",
            AddService {
                address: "10.20.0.0/16:80".into(),
                scheduler: Some("lblc".into()),
                ..plain.clone()
            },
        ),
        (
            "add-service -t 192.168.200.16:80 -m",
            AddService {
                method: Some(MethodName::Nat),
                ..plain.clone()
            },
        ),
    ] {
        assert_eq!(add_service(line), wanted, "{line}");
    }
    let group =
        add_service("add-service -t 192.0.2.1:80 -u 192.0.2.1:443 -t 192.0.2.1:443 --name web");
    assert_eq!(group.address, "192.0.2.1:80");
    let also: Vec<String> = group.also.iter().map(ToString::to_string).collect();
    assert_eq!(also, ["tcp 192.0.2.1:443", "udp 192.0.2.1:443"]);
}

#[test]
fn real_servers_are_added_with_ipvsadms_flags() {
    let plain: AddReal = serde_json::from_str(r#"{"address": "192.168.200.21:80"}"#).unwrap();
    let with = |method, weight| AddReal {
        method,
        weight,
        ..plain.clone()
    };
    for (line, wanted) in [
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21:80",
            plain.clone(),
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21",
            AddReal {
                address: "192.168.200.21".into(),
                ..plain.clone()
            },
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21:80 -g -w 3",
            with(Some(MethodName::Dr), Some(3)),
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21:80 -i",
            with(Some(MethodName::Tun), None),
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21:80 --masquerading",
            with(Some(MethodName::Nat), None),
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21:80 -m -w 0",
            with(Some(MethodName::Nat), Some(0)),
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21:80 -x 1000 -y 800",
            AddReal {
                upper: Some(1000),
                lower: Some(800),
                ..plain.clone()
            },
        ),
        (
            "add-real -u 192.168.200.16:53 -r 192.168.200.21:80 --weight=7",
            with(None, Some(7)),
        ),
        ("add-real --service web -r 192.168.200.21:80", plain.clone()),
        (
            "add-server -t 192.168.200.16:80 -r 192.168.200.21:80",
            plain.clone(),
        ),
    ] {
        assert_eq!(add_real(line), wanted, "{line}");
    }
}

#[test]
fn an_edit_names_only_what_it_changes() {
    let Ok(Verb::EditService(edit)) = parse("edit-service -t 192.168.200.16:80 -s rr") else {
        panic!()
    };
    assert_eq!(
        edit.request(),
        EditService {
            scheduler: Some("rr".into()),
            ..Default::default()
        }
    );
    let Ok(Verb::EditService(edit)) = parse("edit-service -t 192.168.200.16:80 -p 0 -o no") else {
        panic!()
    };
    assert_eq!(
        edit.request(),
        EditService {
            persistence: Some(None),
            one_packet: Some(false),
            ..Default::default()
        }
    );
    let Ok(Verb::EditService(edit)) = parse("edit-service -t 192.168.200.16:80 --sched-flags=")
    else {
        panic!()
    };
    assert_eq!(
        edit.request(),
        EditService {
            scheduler_flags: Some(vec![]),
            ..Default::default()
        }
    );
    let Ok(Verb::EditReal(edit)) =
        parse("edit-real -t 192.168.200.16:80 -r 192.168.200.21:80 -w 0")
    else {
        panic!()
    };
    assert_eq!(
        edit.request(),
        EditReal {
            weight: Some(0),
            ..Default::default()
        }
    );
}

#[test]
fn timeouts_are_set_one_by_one_or_as_ipvsadm_sets_them() {
    for (line, tcp, tcp_fin, udp) in [
        ("set-timeout --tcp 15m", Some(900), None, None),
        ("set-timeout 900 120 300", Some(900), Some(120), Some(300)),
        ("set-timeout 0 0 60", None, None, Some(60)),
        (
            "set-timeout -t 192.168.200.16:80 --tcp-fin 30 --udp 1h",
            None,
            Some(30),
            Some(3600),
        ),
        ("set-timeout", None, None, None),
    ] {
        let Ok(Verb::SetTimeout(verb)) = parse(line) else {
            panic!("{line}")
        };
        assert_eq!(verb.patch(), TimeoutsPatch { tcp, tcp_fin, udp }, "{line}");
    }
}

#[test]
fn reading_verbs_take_the_flags_that_fingers_know() {
    for line in [
        "list -n",
        "list",
        "ls -n --stats",
        "list -n --rate --exact",
        "list -nc",
        "list --thresholds",
        "list --persistent-conn --nosort",
        "list -n --sort",
        "list -t 192.168.200.16:80",
        "stats",
        "stats --rate -n --json",
        "zero",
        "zero -t 192.168.200.16:80",
        "conns -n",
        "conns -t 192.168.200.16:80 --state established --client 10.0.0.9 --limit 100",
        "conns -r 192.168.200.21",
        "status --json",
        "--json status",
        "--socket /tmp/x.sock status",
        "check -",
        "diff --exit-code",
        "save",
        "reload --dry-run",
        "detach",
        "del-service -t 192.168.200.16:80 -f",
        "del-real -t 192.168.200.16:80 -r 192.168.200.21 --force",
        "drain 192.168.200.21",
        "undrain 192.168.200.21:80 -u 192.168.200.16:53",
        "list --timeout",
        "list --timeout -t 192.168.200.16:80",
        "set 900 120 300",
        "drain 192.168.200.21:80 -t 192.168.200.16:80 --wait --deadline 10m",
        "completions zsh",
        "explain tcp 10.9.0.1:4000 192.168.200.16:80",
        "simulate -t 192.168.200.16:80 --drain 192.168.200.21 -s wlc",
    ] {
        if let Err(err) = parse(line) {
            panic!("{line}: {err}");
        }
    }
}

#[test]
fn wrong_usage_is_refused() {
    for (line, says) in [
        ("", "a command is missing"),
        ("add-service", "required"),
        ("add-service -t web:80", "names are not looked up"),
        ("add-service -t 192.168.200.16:80 -M 24", "--persistent"),
        ("add-real -t 192.168.200.16:80", "--real-server"),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21 -g -m",
            "cannot be used with",
        ),
        (
            "add-real -t 192.168.200.16:80 -u 192.168.200.16:80 -r 192.168.200.21",
            "cannot be used with",
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21 -w 65536",
            "65535",
        ),
        (
            "add-real -t 192.168.200.16:80 -r 192.168.200.21 -w -1",
            "-1",
        ),
        ("del-service", "required"),
        ("set-timeout 900 120", "3 values"),
        ("set-timeout --default", "required"),
        ("drain 192.168.200.21 --deadline 10m", "--wait"),
        (
            "explain tcp 10.9.0.1 192.168.200.16:80",
            "write the port too",
        ),
        ("explain sctp 10.9.0.1:4000 192.168.200.16:80", "tcp, udp"),
        ("simulate -t 192.168.200.16:80 --force", "--remove"),
        (
            "simulate -t 192.168.200.16:80 -w 192.168.200.21=70000",
            "65535",
        ),
        ("frobnicate", "unrecognized"),
        ("lits", "list"),
    ] {
        let err = parse(line).expect_err(line);
        assert!(err.contains(says), "{line}: {err}");
        let last = err.lines().last().unwrap();
        assert!(last.starts_with("hint: "), "{line}: {err}");
    }
}

#[test]
fn wrong_usage_is_answered_with_what_to_write() {
    for (line, says) in [
        (
            "-L --jsno",
            "error: unexpected argument '--jsno' found\n  usage: lbctl {list|-L} --json\n\
             hint: did you mean `--json`? `lbctl list --help` tells what it takes\n",
        ),
        (
            "backend prpare",
            "error: unrecognized subcommand 'prpare'\n  usage: lbctl backend [OPTIONS] <COMMAND>\n\
             hint: did you mean `prepare`? `lbctl backend --help` tells what it takes\n",
        ),
        (
            "explain tcp",
            "error: the following required arguments were not provided:\n  <CIP:PORT>\n  <VIP:PORT>\n\
             hint: write `lbctl explain <PROTOCOL> <CIP:PORT> <VIP:PORT>`; `lbctl explain --help` tells more\n",
        ),
        (
            "-A -t web:80",
            "error: invalid value 'web:80' for '--tcp-service <VIP[:PORT]>': it takes an address and a port, such as \
             `192.0.2.1:80`\nhint: names are not looked up: write the address itself\n",
        ),
        (
            "completions fsh",
            "error: invalid value 'fsh' for '<SHELL>'\n\
             hint: did you mean `fish`? the words are bash, elvish, fish, powershell, zsh\n",
        ),
        (
            "list 192.168.200.16:80",
            "error: unexpected argument '192.168.200.16:80' found\n  usage: lbctl {list|-L} [OPTIONS]\n\
             hint: `lbctl list --help` tells what it takes\n",
        ),
        (
            "",
            "error: a command is missing\nhint: choose one of these; `lbctl COMMAND --help` tells what it takes\n",
        ),
    ] {
        let err = parse(line).expect_err(line);
        assert_eq!(err, says, "{line}");
    }
}

#[test]
fn a_simulation_takes_every_kind_of_change_at_once() {
    let line = "simulate -t 192.168.200.16:80 -s mh -b mh-port --drain 192.168.200.21 -w 192.168.200.22:80=5 \
                --add 192.168.200.23=2 --add 192.168.200.24 -m --remove 192.168.200.25 --connections 500";
    let Ok(Verb::Simulate(verb)) = parse(line) else {
        panic!()
    };
    let wanted = serde_json::json!({
        "service": "tcp:192.168.200.16:80", "scheduler": "mh", "scheduler_flags": ["mh-port"],
        "edit": [{"real": "192.168.200.21", "weight": 0}, {"real": "192.168.200.22:80", "weight": 5}],
        "add": [{"address": "192.168.200.23", "method": "nat", "weight": 2}, {"address": "192.168.200.24", "method": "nat"}],
        "remove": ["192.168.200.25"], "force": false, "connections": 500,
    });
    assert_eq!(serde_json::to_value(verb.request()).unwrap(), wanted);
}

#[test]
fn help_fits_a_terminal_of_80_columns() {
    let mut lbctl = Cli::command();
    lbctl.build();
    let texts = std::iter::once(lbctl.clone().render_long_help().to_string()).chain(
        lbctl
            .get_subcommands()
            .map(|verb| verb.clone().render_help().to_string()),
    );
    for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
