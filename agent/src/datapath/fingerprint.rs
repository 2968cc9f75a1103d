//! Layout and meaning of what kernel and userspace agree on -> a text, one a version of the ABI.
//!
//! The texts lie in `common/abi`. Where the present one is not what the code says, something has changed that pinned
//! maps or manifests of the same version would misread, and [`abi::VERSION`] has to be raised. The text of a new
//! version is written where [`WRITE`] is set and there is none yet.

use std::{
    env,
    fmt::Write as _,
    fs,
    mem::{align_of, offset_of, size_of},
    path::Path,
};

use portcullis_common::{
    abi::{self, feature},
    class::{self, port_index},
    counter::Counter,
    flow::{self, Entry, FlowCounter, Key, Life, Phase, Settings, state, timeout_index},
    fragment::{self, Datagram, First},
    more::{self, Row, cell},
    second::{self, Difference, Example},
    slot::{self, Reason, accept_bit, leaving, unreadable},
    trie::{self, Node},
};

use super::{load, pins::Pins};

/// Set to have the text of a new version written.
const WRITE: &str = "PORTCULLIS_WRITE_FINGERPRINT";

macro_rules! layout {
    ($facts:ident: $($type:ty { $($field:tt),* })*) => {
        $(
            let name = stringify!($type);
            let _ = write!($facts, "struct {name}: {} bytes, aligned to {}:", size_of::<$type>(), align_of::<$type>());
            $( let _ = write!($facts, " {}@{}", stringify!($field), offset_of!($type, $field)); )*
            $facts.push('\n');
        )*
    };
}

macro_rules! values {
    ($facts:ident: $($value:expr),* $(,)?) => {
        $( let _ = writeln!($facts, "{} = {:?}", stringify!($value), $value); )*
    };
}

/// Everything in one text.
fn facts() -> String {
    let mut facts = String::new();
    for reason in Reason::ALL {
        let _ = writeln!(facts, "reason {:#05x} {}", reason.slot(), reason.name());
    }
    values!(facts: slot::FIRST_ACCEPT, slot::FIRST_RULE, slot::COUNT, slot::MAX_RULES);
    let twins: Vec<_> = (0..slot::FIRST_ACCEPT).step_by(7).map(|slot| unreadable(slot, u32::MAX)).collect();
    let leaves: Vec<_> =
        [Reason::UndocumentedTcp, Reason::FlowUdp].map(|reason| leaving(reason.slot())).to_vec();
    let bits: Vec<_> =
        [0, slot::FIRST_ACCEPT - 1, slot::FIRST_ACCEPT, slot::FIRST_RULE].map(accept_bit).to_vec();
    values!(facts: twins, leaves, bits);
    values!(facts:
        class::TCP, class::UDP, class::ICMP4, class::ICMP6, class::PROTOCOL, class::SCTP, class::COUNT, class::PAGE,
        class::PAGES, class::MORE, class::MAX_ROWS, class::IGMP, class::ETHER, class::ETHER_TYPES, class::ANSWERS, port_index(0x1234).to_be(),
    );
    values!(facts:
        flow::FORGOTTEN, flow::MARKS, flow::WAYS, flow::FEWEST, flow::MOST, flow::SPARE, flow::TIMEOUTS, flow::SECRETS,
        state::ANSWERED, state::LOCAL_FIN, state::REMOTE_FIN, state::RESET, state::VISIT, state::UNRULED, state::QUESTION,
    );
    let ends = Key::ends(0x0102, 0x0304, 17);
    let life = Life(0x1234_5678_9abc_def0);
    let phases: Vec<Phase> = [1, 6, 17, 132]
        .iter()
        .flat_map(|protocol| (0..16).map(|state| Phase::of(*protocol, state)))
        .collect();
    let timeouts: Vec<usize> = [1, 6, 17, 132]
        .iter()
        .flat_map(|protocol| [0, 15].map(|state| timeout_index(Key::ends(0, 0, *protocol), state)))
        .collect();
    let secret = |word: usize| (word as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hashed = flow::hash(&Key::v6([1, 2], [3, 4], ends), secret);
    values!(facts:
        ends, Key::v4([1, 2, 3, 4], [5, 6, 7, 8], ends), Key::v6([1, 2], [3, 4], ends),
        Key::v4([1, 2, 3, 4], [5, 6, 7, 8], ends).of_group(), flow::forgotten_index(7, 132), hashed,
        Key::v4([1, 2, 3, 4], [5, 6, 7, 8], ends).by_anybody(), Key::v6([1, 2], [3, 4], ends).by_anybody(),
        Key::v6([1, 2], [3, 4], ends).from_any_port(),
        life.with(3, 9), life.busy(), life.next(), life.state(), life.idle(5), flow::believed(15), phases, timeouts,
    );
    values!(facts: fragment::DATAGRAMS, fragment::UNSEEN_HEADERS, fragment::LEAVING);
    let row = Row { base: 5, otherwise: 4, padding: 0 };
    values!(facts: more::EMPTY, cell(3, 9), row.position(7), row.slot(3, cell(3, 9)), row.slot(2, cell(3, 9)));
    values!(facts: second::CHUNK, second::CHUNKS);
    values!(facts: trie::ROOTS, trie::MIN_STRIDE, trie::V4_STEPS, trie::V6_STEPS, trie::IS_CLASS);
    layout!(facts:
        Counter { packets, bytes }
        Key { addresses, ends }
        Life { 0 }
        Entry { life, key }
        Settings { secret, mask }
        FlowCounter { begun, evicted, missed }
        Datagram { source, destination, identification, version, protocol }
        First { seen, slot, headers, reserved }
        Row { base, otherwise, padding }
        Difference { opens, closes, last }
        Example { seen, source, destination, index, source_port, version }
        Node { shared, mask, first, otherwise, skip, shift, taken, ends_upper, padding }
    );
    values!(facts:
        abi::INGRESS_PROGRAM, abi::EGRESS_PROGRAM, abi::NO_TRIE, abi::PACK, feature::MORE, feature::FLOWS, feature::DHCP,
        feature::OUTBOUND, feature::OUTBOUND_DROP, feature::GATEWAY, feature::ROUTES, feature::OBSERVE, feature::TRIAL,
        feature::SHADOW, feature::NO_LINK_HEADER, feature::ETHER_TYPES,
    );
    let object = load::object().expect("the object is readable");
    let mut maps: Vec<_> = object.maps.iter().collect();
    maps.sort_by_key(|(name, _)| name.as_str());
    for (name, map) in maps {
        let pinned = if Pins::SHARED_MAPS.contains(&name.as_str()) { ", pinned" } else { "" };
        // The others' sizes are those of a policy, or of the programs.
        if !pinned.is_empty() || name == abi::map::DIFFERENCES {
            let (kind, key, value) = (map.map_type(), map.key_size(), map.value_size());
            let entries = map.max_entries();
            let _ =
                writeln!(facts, "map {name}: type {kind}, {key} -> {value} bytes, {entries} entries{pinned}");
        }
    }
    facts
}

#[test]
fn what_kernel_and_userspace_agree_on_is_that_of_its_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../common/abi/v{}.txt", abi::VERSION));
    let facts = facts();
    if !path.exists() && env::var_os(WRITE).is_some() {
        fs::write(&path, &facts).expect("the folder can be written");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    let version = abi::VERSION;
    let differs = facts.lines().zip(known.lines()).find(|(now, known)| now != known);
    assert!(
        facts == known,
        "layout or meaning of the crate `common` is not that of version {version}, so that pins and manifests of that \
         version would be misread (first difference, now and before: {differs:?}): raise `abi::VERSION`, and run this \
         test with {WRITE}=1 to have common/abi/v{}.txt written. A version that was never released may be written anew \
         when its text is removed.\n{facts}",
        if known.is_empty() { version } else { version + 1 },
    );
}

#[test]
fn nothing_that_kernel_and_userspace_agree_on_is_left_out() {
    let facts = facts();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/src");
    for file in ["class", "counter", "flow", "fragment", "more", "second", "slot", "trie"] {
        let text = fs::read_to_string(folder.join(file).with_extension("rs")).expect("the crate's sources");
        for line in text.lines().map(str::trim_start) {
            let name = ["pub const ", "pub struct "].iter().find_map(|head| line.strip_prefix(head));
            let Some(name) = name.filter(|name| !name.starts_with("fn ")) else { continue };
            let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // `ALL` are the reasons, and the kernel programs know nothing of what is usual.
            let is_known =
                facts.contains(&format!("::{name} =")) || facts.contains(&format!("struct {name}:"));
            assert!(
                is_known || ["ALL", "USUAL"].contains(&name.as_str()),
                "`{name}` of common/src/{file}.rs is not in the fingerprint of the ABI: add it to `facts`"
            );
        }
    }
}
