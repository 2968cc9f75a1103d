//! Policies that are refused: what each complaint says, and which place it points at.

use std::process::Stdio;

use anyhow::Result;
use nix::{sys::stat::Mode, unistd::mkfifo};
use portcullis_tests::{
    operator::{Operator, lab},
    running::Running,
};

/// A policy with one allow, whose keys begin in line 6.
macro_rules! allow {
    ($keys:literal) => {
        concat!(
            "version = 1\n[[interface]]\nname = \"edge0\"\n[[interface.allow]]\nname = \"web\"\n",
            $keys,
            "\n"
        )
    };
}

/// A policy, the line and column that are wrong, what is said of them, and what would be right.
struct Case {
    policy: &'static str,
    place: &'static str,
    message: &'static str,
    help: &'static str,
}

const CASES: &[Case] = &[
    Case { policy: "version = 1\n\n[[interface]\nname = \"edge0\"\n", place: "3:13", message: "", help: "" },
    Case { policy: "", place: "1:1", message: "`version` is missing here", help: "write `version = 1`" },
    Case {
        policy: "version = 2\n[[interface]]\nname = \"edge0\"\n",
        place: "1:11",
        message: "version 2 of the policy language is not known",
        help: "write `version = 1`",
    },
    Case {
        policy: "version = 1\n",
        place: "1:11",
        message: "the policy names no interface",
        help: "add `[[interface]]`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\nallows = []\n",
        place: "4:1",
        message: "unknown field `allows`",
        help: "it may be one of `name`, `mode`, `dhcp`, `outbound`, `deployment`, `unreadable`, `roles`, `parameters`, `address`, `allow`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nmode = \"enforce\"\n",
        place: "2:1",
        message: "`name` is missing here",
        help: "",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\nmode = \"watch\"\n",
        place: "4:8",
        message: "unknown variant `watch`",
        help: "`enforce` or `observe`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\n[[interface]]\nname = \"edge0\"\n",
        place: "5:8",
        message: "interface `edge0` stands here twice",
        help: "one `[[interface]]`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"a-name-too-long-for-linux\"\n",
        place: "3:8",
        message: "cannot be the name of an interface",
        help: "`ip link`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"..\"\n",
        place: "3:8",
        message: "cannot be the name of an interface",
        help: "`ip link`",
    },
    Case {
        policy: "version = 1\n[interface]\nname = \"edge0\"\n",
        place: "2:1",
        message: "`[interface]` is one table, and `interface` is a list of tables",
        help: "write `[[interface]]`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\n[interface.allow]\nname = \"web\"\n",
        place: "4:1",
        message: "`[interface.allow]` is one table",
        help: "write `[[interface.allow]]`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\nroles = \"a/b\"\n",
        place: "4:9",
        message: "this is text, and a list is meant",
        help: "write `[\"a/b\"]`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = 7\n",
        place: "3:8",
        message: "this is a number, and text is meant",
        help: "write `\"7\"`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\ndhcp = \"yes\"\n",
        place: "4:8",
        message: "this is text, and true or false is meant",
        help: "without quotation marks",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\nroles = [\"nobody/nothing\"]\n",
        place: "4:10",
        message: "there is no role `nobody/nothing`, because there is no system `nobody`",
        help: "`catalog = [\"nobody.toml\"]`; `portcullis catalog list`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\nroles = [\"front-end-server\"]\n",
        place: "4:10",
        message: "`front-end-server` names no system, and a role is written as `system/role`",
        help: "write `skype-for-business-server-2015/front-end-server`",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\n[[interface.address]]\naddress = \"203.0.113.0/24\"\n",
        place: "5:11",
        message: "`203.0.113.0/24` is no IP address",
        help: "write one address",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = 70000"),
        place: "7:9",
        message: "70000",
        help: "from 0 to 65535",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = \"443,https\""),
        place: "7:9",
        message: "https",
        help: "443",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = \"5100-5000\""),
        place: "7:9",
        message: "5100",
        help: "5000-5100",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = []"),
        place: "7:9",
        message: "no ports are listed",
        help: "443",
    },
    Case {
        policy: allow!("protocol = \"tcp\""),
        place: "6:12",
        message: "`tcp` needs `ports`",
        help: "add `ports",
    },
    Case {
        policy: allow!("protocol = \"sctp\""),
        place: "6:12",
        message: "`sctp` needs `ports`",
        help: "add `ports",
    },
    Case {
        policy: allow!("protocol = \"ip132\""),
        place: "6:12",
        message: "`ip132` needs `ports`",
        help: "add `ports",
    },
    Case {
        policy: allow!("protocol = \"tpc\"\nports = 443"),
        place: "6:12",
        message: "`tpc` is no protocol",
        help: "use `tcp`, `udp`",
    },
    Case {
        policy: allow!("protocol = []\nports = 443"),
        place: "6:12",
        message: "no protocol is listed",
        help: "\"tcp\"",
    },
    Case {
        policy: allow!("protocol = \"gre\"\nports = 443"),
        place: "7:9",
        message: "only `tcp`, `udp` and `sctp` have ports",
        help: "remove `ports`",
    },
    Case {
        policy: allow!("protocol = \"dccp\"\nports = 5001"),
        place: "7:9",
        message: "no ports of `dccp` can be opened",
        help: "without `ports`, which opens the whole protocol",
    },
    Case {
        policy: allow!("protocol = [\"udp\", \"udplite\"]\nports = 5002"),
        place: "7:9",
        message: "no ports of `udplite` can be opened",
        help: "give `udplite` an allow of its own",
    },
    Case {
        policy: allow!("protocol = [\"tcp\", \"ip33\"]\nports = \"5000-5001\""),
        place: "7:9",
        message: "no ports of `ip33` can be opened",
        help: "give `ip33` an allow of its own",
    },
    Case {
        policy: allow!("protocol = \"ethertype\""),
        place: "6:12",
        message: "`ethertype` needs `types`",
        help: "0x88f7",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = []"),
        place: "7:9",
        message: "no types are listed",
        help: "ptp",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = [\"ptp\", \"0x0800\"]"),
        place: "7:9",
        message: "`0x0800` is IPv4",
        help: "allow ports, types or protocols",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = 0x0026"),
        place: "7:9",
        message: "`0x0026` is no EtherType: below 0x0600 stands the length of an 802.3 frame",
        help: "non-ip",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = \"profibus\""),
        place: "7:9",
        message: "`profibus` is no EtherType",
        help: "`profinet`",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = \"ptp\"\nfrom = [\"10.0.0.0/8\"]"),
        place: "8:8",
        message: "`from` does not apply",
        help: "remove `from`",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = \"ptp\"\nto = [\"10.0.0.0/8\"]"),
        place: "8:6",
        message: "`to` does not apply",
        help: "remove `to`",
    },
    Case {
        policy: allow!("protocol = \"ethertype\"\ntypes = \"ptp\"\nports = 319"),
        place: "8:9",
        message: "only `tcp`, `udp` and `sctp` have ports",
        help: "remove `ports`",
    },
    Case {
        policy: allow!("protocol = [\"icmp\", \"ethertype\"]\ntypes = \"ptp\""),
        place: "6:12",
        message: "`ethertype` stands together with other protocols",
        help: "an allow of its own",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\n[[interface.address]]\naddress = \"192.0.2.1\"\n\
                 [[interface.address.allow]]\nname = \"clock\"\nprotocol = \"ethertype\"\ntypes = \"ptp\"\n",
        place: "8:12",
        message: "frames of an EtherType are not for 192.0.2.1",
        help: "`[[interface.allow]]`",
    },
    Case {
        policy: allow!(
            "protocol = \"ethertype\"\ntypes = [0x9000, 0x9001, 0x9002, 0x9003, 0x9004, 0x9005, 0x9006, 0x9007]\n\
             [[interface.allow]]\nname = \"more\"\nprotocol = \"ethertype\"\n\
             types = [0x9000, 0x9011, 0x9012, 0x9013, 0x9014, 0x9015, 0x9016, 0x9017, 0x9018, 0x9019]"
        ),
        place: "9:8",
        message: "with `more`, this interface names more than 16 EtherTypes",
        help: "name fewer",
    },
    Case {
        policy: allow!("protocol = \"icmp\""),
        place: "6:12",
        message: "need `types`",
        help: "echo-request",
    },
    Case {
        policy: allow!("protocol = \"icmp\"\ntypes = []"),
        place: "7:9",
        message: "no types are listed",
        help: "echo-request",
    },
    Case {
        policy: allow!("protocol = \"icmp\"\ntypes = \"ping\""),
        place: "7:9",
        message: "`ping` is no type of this protocol",
        help: "`echo-request`",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = 443\nfrom = []"),
        place: "8:8",
        message: "no source is listed",
        help: "remove `from`",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = 443\nfrom = [\"10.0.0.0/8\", \"admins\"]"),
        place: "8:23",
        message: "`admins` is neither a network nor the name of peers",
        help: "`[peers]`",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = 443\nfrom = [\"10.1.0.0/8\"]"),
        place: "8:9",
        message: "`10.1.0.0/8` has bits behind its prefix",
        help: "write `10.0.0.0/8`, or `10.1.0.0/32` for the one address",
    },
    Case {
        policy: allow!("protocol = \"tcp\"\nports = 443\n[peers]\nadmins = []"),
        place: "9:10",
        message: "the peers `admins` are empty",
        help: "list their networks",
    },
    Case {
        policy: allow!(
            "protocol = \"tcp\"\nports = 443\n[[interface.allow]]\nname = \"web\"\nprotocol = \"udp\"\nports = 443"
        ),
        place: "9:8",
        message: "the name `web` is taken by the allow in line 5",
        help: "its own name",
    },
    Case {
        policy: "version = 1\n[[interface]]\nname = \"edge0\"\n[[interface.allow]]\nname = \"\"\nprotocol = \"gre\"\n",
        place: "5:8",
        message: "an allow needs a name",
        help: "counter",
    },
];

#[test]
fn each_mistake_is_told_with_its_place_and_what_would_be_right() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    for Case { policy, place, message, help } in CASES {
        let path = operator.policy(policy)?;
        let said = operator.run(&["check", path.to_str().expect("text")]).exits(2);
        println!("{}", said.stderr);
        let (line, _) = place.split_once(':').expect("line:column");
        let text = policy.lines().nth(line.parse::<usize>()? - 1).unwrap_or_default();
        let said = said.complains(&format!("{}:{place}: ", path.display()));
        let said = said.complains(message).complains(&format!("\n  {line} | {text}"));
        if !help.is_empty() {
            let at = said.stderr.find("= help: ").unwrap_or_else(|| panic!("no help: {said}"));
            assert!(said.stderr[at..].contains(help), "`{help}` is no part of the help: {said}");
        }
        assert!(said.stdout.is_empty(), "{said}");
    }
    Ok(())
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let policy = "version = 2\n[[interface]]\nname = \"edge0\"\n[[interface.allow]]\nname = \"web\"\nprotocol = \"tpc\"\n\
                  [[interface]]\nname = \"edge0\"\n[peers]\nnone = []\n";
    let path = operator.policy(policy)?;
    let said = operator.run(&["apply", path.to_str().expect("text")]).exits(2);
    let places: Vec<&str> = said
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("{}:", path.display()))?.split(": ").next())
        .collect();
    assert_eq!(places, ["1:11", "6:12", "8:8", "10:8"], "{said}");
    Ok(())
}

#[test]
fn a_document_or_catalog_file_that_never_ends_is_refused_at_once() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let folder = lab.folder("pipes")?;
    // Nobody will ever write to them.
    for name in ["ports.md", "mine.toml"] {
        mkfifo(&folder.join(name), Mode::S_IRUSR | Mode::S_IWUSR)?;
    }
    let [document, catalog] = ["ports.md", "mine.toml"].map(|name| folder.join(name).display().to_string());
    let built_in = "skype-for-business-server-2015";
    for (args, path) in [
        (&["import", &document][..], &document),
        (&["import", "--format", "json", &document], &document),
        (&["diff", &document, built_in], &document),
        (&["diff", built_in, &catalog], &catalog),
        (&["catalog", "list", "--catalog", &catalog], &catalog),
    ] {
        let mut command = operator.command(args);
        command.stdin(Stdio::null());
        let mut ran = Running::start(command);
        let is_json = args.contains(&"json");
        let told = |line: &str| line.contains(path) && line.contains("is a named pipe");
        if is_json {
            ran.line(|line| line.contains("is a named pipe"))
        } else {
            ran.complaint(told)
        };
        assert_eq!(ran.end().code(), Some(2), "{args:?}");
    }
    operator.run(&["import", "/dev/zero"]).exits(2).complains("/dev/zero is a device");
    Ok(())
}

#[test]
fn a_policy_that_is_not_there_is_told_once() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    for command in ["plan", "apply", "check"] {
        let ran = operator.run(&[command, "/mnt/state/none.toml"]);
        assert_ne!(ran.code, Some(0), "{command}");
        assert_eq!(ran.stderr.matches("No such file or directory").count(), 1, "{}", ran.stderr);
        drop(ran.complains("/mnt/state/none.toml"));
    }
    Ok(())
}

/// A path is said once, and a bound is one that a person would write.
#[test]
fn errors_say_each_thing_once() -> Result<()> {
    let Some(lab) = lab() else { return Ok(()) };
    let operator = Operator::new(&lab)?;
    let missing = operator.run(&["check", "/nosuch.toml"]).exits(2);
    let missing = missing.complains("cannot read the policy: cannot open /nosuch.toml: No such file");
    missing.complains_not("/nosuch.toml: cannot");
    operator.run(&["counters", "--watch", "0"]).exits(2).complains("0 is not in 1..=86400");
    Ok(())
}
