//! Every language has its columns.

use std::collections::BTreeSet;

use super::*;
use crate::requirement::fold::Folded;

#[test]
fn every_file_reads() {
    let vocabulary = Vocabulary::standard().expect("the files are well-formed");
    assert!(vocabulary.parties.len() > 40 && vocabulary.applications.len() > 60);
}

/// The header row that a vendor would write, in every language.
#[test]
fn knows_the_columns_of_every_language() {
    use Column::{Destination, Direction, Note, Ports as Port, Protocol, Role, Service, Source};
    let words = Vocabulary::standard().expect("well-formed");
    let cases: &[(&[&str], &[Column])] = &[
        (
            &[
                "Server role",
                "Service name",
                "Port",
                "Protocol",
                "Notes",
                "Source",
                "Destination",
                "Direction",
            ],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &[
                "Serverrolle",
                "Dienstname",
                "Portnummer",
                "Protokoll",
                "Hinweise",
                "Quelle",
                "Ziel",
                "Richtung",
            ],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &["サーバーの役割", "サービス名", "ポート", "プロトコル", "メモ", "送信元", "宛先", "方向"],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &[
                "Função de servidor",
                "Serviço",
                "Porta",
                "Protocolo",
                "Observações",
                "Origem",
                "Destino",
                "Direção",
            ],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &[
                "Rôle serveur",
                "Nom du service",
                "Numéro de port",
                "Protocole",
                "Remarques",
                "Origine",
                "Destination",
                "Sens",
            ],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &["Rol de servidor", "Servicio", "Puerto", "Protocolo", "Notas", "Origen", "Destino", "Sentido"],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &[
                "Ruolo del server",
                "Servizio",
                "Porta",
                "Protocollo",
                "Note e limitazioni",
                "Origine",
                "Destinazione",
                "Direzione",
            ],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &[
                "Роль сервера",
                "Служба",
                "Порт",
                "Протокол",
                "Примечание",
                "Источник",
                "Получатель",
                "Направление",
            ],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
        (
            &["服务器角色", "服务名称", "端口", "协议", "备注", "源地址", "目标地址", "方向"],
            &[Role, Service, Port, Protocol, Note, Source, Destination, Direction],
        ),
    ];
    for (headers, expected) in cases {
        for (header, word) in headers.iter().zip(*expected) {
            let folded = Folded::new(header);
            let whole = words.whole_columns.whole(folded.as_str());
            let found = whole.or_else(|| words.columns.find(&folded).first().map(|found| found.meaning));
            assert_eq!(found, Some(*word), "{header}");
        }
    }
}

/// A word in two lists of one language would mean whichever comes first.
#[test]
fn no_header_word_stands_in_two_lists() {
    // Language, word, and the two lists that it may stand in.
    let wanted = [
        // `Towards` over names of ends and over directions: the cells tell.
        ("it", "verso", ["destination_cell", "direction_cell"]),
        // The other end, whichever it is: a destination unless the table has directions.
        ("ja", "通信先", ["destination", "peer"]),
        ("ja", "相手先", ["destination", "peer"]),
    ];
    let mut found = BTreeSet::new();
    for text in LANGUAGES {
        let file: LanguageFile = toml::from_str(text).expect("well-formed");
        let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, words) in &file.columns {
            words.iter().for_each(|word| lists.entry(word).or_default().push(key));
        }
        for (word, keys) in lists.into_iter().filter(|(_, keys)| keys.len() > 1) {
            found.insert((file.language.clone(), word.to_owned(), keys.join(" ")));
        }
    }
    let wanted =
        wanted.map(|(language, word, lists)| (language.to_owned(), word.to_owned(), lists.join(" ")));
    assert_eq!(found, BTreeSet::from(wanted));
}
