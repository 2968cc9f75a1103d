//! Documents in Japanese, Chinese, Russian and Portuguese, written for this test: what each row opens.
//!
//! The fixtures are UTF-8; each is imported in the encodings that vendors of its language publish in.
//! A row of the expectation is `line role protocols ports direction`, parted by bars.

use std::path::PathBuf;

use portcullis::requirement::{Import, Requirement};

/// A fixture, the encodings it is read in, and its requirements in order.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "ja-recorder.html",
        &["UTF-8", "UTF-16LE"],
        &[
            "6|録画サーバー|tcp|80,443|inbound",
            "7|録画サーバー|tcp,udp|554|inbound",
            "8|録画サーバー|udp|123|outbound",
            "9|カメラ|udp|20000-20999|both",
        ],
    ),
    (
        "ja-printer.md",
        &["UTF-8", "Shift_JIS", "UTF-16LE"],
        &[
            "5||tcp|9100|inbound",
            "6||tcp|515|inbound",
            "7||udp|161|inbound",
            "8||tcp|49152-49160|inbound",
            "12||tcp|25,587|outbound",
            "13||tcp|445|outbound",
            "14||udp|123|outbound",
        ],
    ),
    (
        "ja-host.csv",
        &["UTF-8", "Shift_JIS", "UTF-16LE"],
        &["2||tcp|443,902|inbound", "3||udp|902|outbound", "4||tcp|8000|inbound", "4||tcp|8000|outbound"],
    ),
    (
        "zh-backup.md",
        &["UTF-8", "gb18030"],
        &[
            "5|控制台|tcp|8400,8401|inbound",
            "6|介质代理|tcp|8600-8619|inbound",
            "6|介质代理|tcp|443|outbound",
            "6|介质代理|udp|53|outbound",
            "7|客户端|tcp|8400|inbound",
            "7|客户端|tcp|8400,8403|outbound",
        ],
    ),
    (
        "zh-database.txt",
        &["UTF-8", "gb18030"],
        &[
            "6|主节点|tcp|1521|unknown",
            "7|主节点|tcp|5500|unknown",
            "8|主节点|udp|42424-42430|unknown",
            "10|备用节点|tcp|1521|unknown",
            "11|备用节点|tcp|22|unknown",
        ],
    ),
    (
        "ru-telephony.html",
        &["UTF-8", "windows-1251"],
        &[
            "4|Сервер вызовов|tcp|5060,5061|inbound",
            "4|Сервер вызовов|udp|5060|inbound",
            "4|Сервер вызовов|tcp|any|outbound",
            "4|Сервер вызовов|udp|53,123|outbound",
            "5|Медиашлюз|udp|16384-32767|inbound",
            "5|Медиашлюз|udp|16384-32767|outbound",
        ],
    ),
    (
        "ru-accounting.csv",
        &["UTF-8", "UTF-16LE"],
        &[
            "2|Сервер приложений|tcp|1540,1541|inbound",
            "3|Сервер приложений|tcp|1560-1591|inbound",
            "4|Сервер СУБД|tcp|5432|inbound",
            "5|Сервер лицензий|udp,tcp|475|inbound",
            "6|Сервер приложений|tcp|25,465,587|outbound",
            "7|Все серверы|tcp|49152-65535|both",
            "8|Шлюз|ip50||both",
        ],
    ),
    (
        "pt-recorder.txt",
        &["UTF-8", "windows-1252"],
        &[
            "4||tcp|80,443|inbound",
            "5||tcp|554|inbound",
            "6||tcp|37777|inbound",
            "9||tcp|25,587|outbound",
            "10||udp|53|outbound",
            "11||udp|123|outbound",
        ],
    ),
    (
        "pt-erp.csv",
        &["UTF-8", "windows-1252"],
        &[
            "2|Servidor ERP|tcp|8080,8443|inbound",
            "2|Servidor ERP|tcp|1433|outbound",
            "3|Servidor de licenças|tcp|5555-5560|inbound",
            "4|Cliente|tcp|8080|outbound",
        ],
    ),
    (
        "ja-web.md",
        &["UTF-8", "Shift_JIS"],
        &["3|Webサーバー|tcp|443|inbound", "3|Webサーバー|tcp|1433|outbound"],
    ),
    // Ports that are sockets, prices and versions: nothing to open.
    ("switches.md", &["UTF-8"], &[]),
];

/// Text as bytes of an encoding; UTF-16 has its mark.
fn encoded(text: &str, label: &str) -> Vec<u8> {
    if label == "UTF-16LE" {
        return std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    }
    let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).expect("a known label");
    let (bytes, _, lossy) = encoding.encode(text);
    assert!(!lossy, "{label} cannot hold the fixture");
    bytes.into_owned()
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn shown(requirement: &Requirement, with_role: bool) -> String {
    let Requirement { line, role, protocols, ports, direction, .. } = requirement;
    let role = if with_role { role.as_str() } else { "" };
    let direction = format!("{direction:?}").to_lowercase();
    format!("{line}|{role}|{}|{}|{direction}", list(protocols), list(ports))
}

#[test]
fn every_row_opens_what_it_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/afresh");
    for (file, encodings, expected) in CASES {
        let text = std::fs::read_to_string(folder.join(file)).expect(file);
        for encoding in *encodings {
            let import = Import::read(&encoded(&text, encoding), file).expect(file);
            // Lists name their role only by a heading, which these fixtures leave open.
            let with_role = expected.iter().any(|row| !row.contains("||"));
            let found: Vec<String> =
                import.requirements.iter().map(|requirement| shown(requirement, with_role)).collect();
            assert_eq!(found, *expected, "{file} in {encoding}");
        }
    }
}
