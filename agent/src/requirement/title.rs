//! Titles: what a heading, a caption or a label says about the rows below it.
//!
//! In comes one title; out come its direction, the two ends that it names, and the role. Invariant: what names
//! only ports, directions or documents is no role.

use super::Direction;
use super::columns::Column;
use super::fold::Folded;
use super::vocabulary::{FlowWord, Found, HintWord, Pairs, PartiesPattern, Vocabulary};

/// Dashes inside of the number of a table.
const DASHES: [char; 4] = ['-', '‐', '‑', '‒'];

/// Longest name of an end or a role, in characters.
const NAME: usize = 60;

/// The two ends that a heading or a caption names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parties {
    pub(crate) source: String,
    pub(crate) destination: String,
}

/// The role that a title names: all of it, or what it says that its ports or directions belong to.
pub(crate) fn role(text: &str, words: &Vocabulary) -> Option<String> {
    if is_generic(text, words) || parties(text, words).is_some() || is_clause(text, words) {
        return None;
    }
    match subject(text, words) {
        // `For each machine, open` asks for something.
        Subject::None
            if text.rsplit_once([',', '，', '、']).is_some_and(|(_, end)| is_generic(end, words)) =>
        {
            None
        }
        Subject::None => Some(without_number(text).to_owned()),
        Subject::Own(role) => Some(role),
        Subject::Other => None,
    }
}

/// Whether a text is no name: it begins as a clause does, or consists of the names of columns.
fn is_clause(text: &str, words: &Vocabulary) -> bool {
    let folded = Folded::new(without_number(text));
    let begins = words.clauses.find(&folded).first().is_some_and(|found| found.start == 0);
    let columns = || {
        let found = words.columns.find(&folded);
        let ports = found.iter().any(|found| found.meaning == Column::Ports);
        let other = found.iter().any(|found| !matches!(found.meaning, Column::Ports | Column::Other));
        ports && other && text.contains(['/', '|', '[']) && words.columns.covers(&folded)
    };
    begins || columns()
}

/// Whether a title says outright whose traffic follows: `Inbound to X`.
pub(crate) fn names_subject(text: &str, words: &Vocabulary) -> bool {
    direction(text, words).is_some()
        && parties(text, words).is_none()
        && matches!(subject(text, words), Subject::Own(_))
}

/// Whether a title is the name of something and nothing else: it speaks of no ports, directions or documents.
pub(crate) fn is_name(text: &str, words: &Vocabulary) -> bool {
    role(text, words).is_some_and(|role| role == without_number(text))
        && words.generic.find(&Folded::new(text)).is_empty()
}

/// What the ports of a title belong to.
enum Subject {
    /// The title does not part it from anything else.
    None,
    /// `Inbound to X`, `Outbound from X`, `Ports of X`, `X: inbound`.
    Own(String),
    /// `Inbound from X`: the end that the role talks to.
    Other,
}

fn subject(text: &str, words: &Vocabulary) -> Subject {
    let text = without_number(text);
    let folded = Folded::new(text);
    let piece = |from: usize, to: usize| {
        let piece = text.get(folded.source(from)..folded.source(to).min(text.len())).unwrap_or_default();
        piece.trim_matches(|c: char| c.is_whitespace() || ":：-–—,(（[".contains(c))
    };
    let end = folded.as_str().len();
    let named = |piece: &str| {
        piece.chars().any(char::is_alphabetic) && piece.chars().count() <= NAME && !is_generic(piece, words)
    };
    for Found { start, end: behind, meaning: word } in words.subjects.find(&folded) {
        let (before, after) = (piece(0, start), piece(behind, end));
        let (said, name) = if word.leads { (before, after) } else { (after, before) };
        let name = if word.leads { name } else { without_article(name, words) };
        let said_enough = if said.is_empty() { word.alone } else { is_generic(said, words) };
        if !said_enough || !named(name) {
            continue;
        }
        let own = match direction(said, words) {
            Some(Direction::Inbound) => word.inbound || !word.outbound,
            Some(Direction::Outbound) => word.outbound || !word.inbound,
            _ if word.any => true,
            _ => continue,
        };
        return if own { Subject::Own(name.to_owned()) } else { Subject::Other };
    }
    if direction(text, words).is_none() {
        return Subject::None;
    }
    // `X inbound ports`, `X入站端口`: what is left of the words for ports and directions at the end.
    let tails = words.generic.find(&folded).into_iter().map(|found| found.start).filter(|&at| at > 0);
    for at in tails {
        let tail = piece(at, end).trim_end_matches([')', '）', ']']);
        if is_generic(tail, words) && direction(tail, words).is_some() {
            let name = piece(0, at);
            return if named(name) { Subject::Own(name.to_owned()) } else { Subject::None };
        }
    }
    Subject::None
}

/// A name without the article before it: `The relay`.
fn without_article<'a>(name: &'a str, words: &Vocabulary) -> &'a str {
    let folded = Folded::new(name);
    let articles = words.articles.find(&folded);
    let behind = articles.first().filter(|article| article.start == 0).map_or(0, |article| article.end);
    name.get(folded.source(behind)..).map_or(name, str::trim_start)
}

/// `text` without the number of its section: `3.2 Nodes`, `C.1 Nodes`, `1. Nodes`.
pub(super) fn without_number(text: &str) -> &str {
    let text = text.trim();
    let Some((number, rest)) = text.split_once(char::is_whitespace) else { return text };
    let parts = number.trim_end_matches(['.', ')']);
    let numbered = (number.contains('.') || number.ends_with(')'))
        && parts.split('.').enumerate().all(|(at, part)| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits || at == 0 && part.len() == 1 && part.bytes().all(|byte| byte.is_ascii_uppercase())
        })
        && parts.bytes().any(|byte| byte.is_ascii_digit());
    if numbered { rest.trim_start() } else { text }
}

/// A title without the colon at its end and the number of its table.
pub(super) fn trim_title(text: &str, words: &Vocabulary) -> String {
    let text = text.trim().trim_end_matches([':', '：']).trim_end();
    unnumbered(text, words).unwrap_or(text).to_owned()
}

/// What follows `Table 3:`, `Table 3b –`, `表D‒1`.
fn unnumbered<'a>(text: &'a str, words: &Vocabulary) -> Option<&'a str> {
    let digit = text.find(|c: char| c.is_ascii_digit())?;
    let label = text[..digit].trim_end();
    // `Table C-1`: the number of an appendix comes first.
    let appendix = label.trim_end_matches(DASHES).strip_suffix(|c: char| c.is_ascii_uppercase());
    let appendix = appendix.filter(|_| label.ends_with(DASHES)).map(str::trim_end);
    let is_label = |label: &str| words.table_labels.whole(Folded::new(label).as_str()).is_some();
    if !is_label(label) && !appendix.is_some_and(is_label) {
        return None;
    }
    let number = |c: char| c.is_ascii_digit() || c == '.' || DASHES.contains(&c);
    let behind = text[digit..].trim_start_matches(number);
    let lettered = behind.strip_prefix(|c: char| c.is_ascii_lowercase());
    let behind = lettered.filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(behind);
    let rest = behind.trim_start_matches([' ', ':', '：', '–', '—', '-', '　', '.']);
    (!rest.is_empty()).then_some(rest)
}

/// `text` without the words at its start or its end with which `title` begins: the product's name.
pub(super) fn without_product<'a>(text: &'a str, title: &str) -> &'a str {
    let title: Vec<String> = title.split_whitespace().map(super::fold::fold).collect();
    let mut end = 0;
    let words: Vec<(usize, &str)> = text
        .split_inclusive(char::is_whitespace)
        .map(|word| {
            let start = end;
            end += word.len();
            (start, word.trim_end())
        })
        .filter(|(_, word)| !word.is_empty())
        .collect();
    let same = |at: usize, word: &str| title.get(at).is_some_and(|known| *known == super::fold::fold(word));
    let leading = words.iter().enumerate().take_while(|&(at, (_, word))| same(at, word)).count();
    if leading > 0 {
        // The whole title is not only the product.
        return words.get(leading).map_or(text, |(start, _)| &text[*start..]);
    }
    let trailing = (1..words.len())
        .find(|&first| words[first..].iter().enumerate().all(|(at, (_, word))| same(at, word)));
    trailing.map_or(text, |first| &text[..words[first].0])
}

/// `text` without a parenthesis at its end that holds a number, as the revision of a document does.
fn without_revision(text: &str) -> &str {
    let Some(rest) = text.trim_end().strip_suffix([')', '）', ']']) else { return text };
    match rest.rfind(['(', '（', '[']) {
        Some(open) if rest[open..].chars().any(|c| c.is_ascii_digit()) => rest[..open].trim_end(),
        _ => text,
    }
}

/// Whether a title names nothing but ports, directions and documents.
pub(crate) fn is_generic(text: &str, words: &Vocabulary) -> bool {
    let text = without_number(without_revision(text));
    let folded = Folded::new(text);
    let numbering = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c.is_whitespace());
    numbering.is_empty()
        || words.generic.covers(&folded)
        || numbering.len() < text.len() && words.generic.covers(&Folded::new(numbering))
        || words.flow_cells.whole(&trim_title(Folded::new(numbering).as_str(), words)).is_some()
}

/// The direction that a text states, if it states one.
pub(crate) fn direction(text: &str, words: &Vocabulary) -> Option<Direction> {
    let folded = Folded::new(text);
    // `Out:` above a table is a direction, as it is in a cell.
    let title = trim_title(folded.as_str(), words);
    let whole = title.chars().any(char::is_alphabetic).then(|| words.flow_cells.whole(&title)).flatten();
    let found = words.flows.find(&folded).into_iter().map(|found| found.meaning);
    direction_in(found).or_else(|| direction_in(whole))
}

/// The direction that a sentence tells by its verb: what somebody accepts or sends.
pub(super) fn told_direction(text: &str, words: &Vocabulary) -> Option<Direction> {
    let found = words.hints.find(&Folded::new(text)).into_iter().map(|found| found.meaning);
    direction_in(found.filter_map(|hint| match hint {
        HintWord::Flow(flow) | HintWord::Verb(flow) => Some(flow),
        HintWord::Flag(_) => None,
    }))
}

/// One direction out of several words: both if a word says so, none if they disagree.
pub(crate) fn direction_in(found: impl IntoIterator<Item = FlowWord>) -> Option<Direction> {
    let (mut inbound, mut outbound, mut both) = (false, false, false);
    for flow in found {
        match flow {
            FlowWord::Inbound => inbound = true,
            FlowWord::Outbound => outbound = true,
            FlowWord::Both => both = true,
        }
    }
    match (inbound, outbound, both) {
        (_, _, true) => Some(Direction::Both),
        (true, false, false) => Some(Direction::Inbound),
        (false, true, false) => Some(Direction::Outbound),
        (true, true, false) | (false, false, false) => None,
    }
}

/// The two ends that a title names: `ports from A to B`.
pub(crate) fn parties(text: &str, words: &Vocabulary) -> Option<Parties> {
    let text = trim_title(text, words);
    // `Alarm relay (relay -> sensor)`: the ends stand inside.
    let ends = |text: &str| {
        let text = without_number(text);
        let folded = Folded::new(text);
        let pairs = Pairs::of(folded.as_str());
        let mut near = words.parties.iter().filter(|pattern| pattern.between.may_be_among(&pairs));
        near.find_map(|pattern| matches(text, &folded, pattern, words))
    };
    let found = in_parentheses(&text).and_then(ends).or_else(|| ends(&text));
    // `コントローラからの送信` names one end and a direction.
    found.filter(|ends| !is_generic(&ends.source, words) && !is_generic(&ends.destination, words))
}

/// What stands in the first parentheses of `text`.
fn in_parentheses(text: &str) -> Option<&str> {
    let open = text.find(['(', '（'])?;
    let behind = text[open..].trim_start_matches(['(', '（']);
    behind.find([')', '）']).map(|close| &behind[..close])
}

fn matches(source: &str, folded: &Folded, pattern: &PartiesPattern, words: &Vocabulary) -> Option<Parties> {
    let text = folded.as_str();
    let (start, first) = match &pattern.before {
        None => (0, 0),
        Some(before) => before.find(text)?,
    };
    let (middle, second) = pattern.between.find(&text[first..])?;
    let (middle, second) = (first + middle, first + second);
    let end = match &pattern.after {
        None => text.len(),
        Some(after) => second + after.find_anywhere(&text[second..])?,
    };
    let piece = |from: usize, to: usize| {
        source
            .get(folded.source(from)..folded.source(to).min(source.len()))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    // Before the ends only ports and directions may be spoken of; otherwise it is a sentence.
    let (before, one, other) = (piece(0, start), piece(first, middle), piece(second, end));
    let spoken = before.is_empty() || is_generic(&before, words);
    let named =
        |end: &str| !end.is_empty() && end.chars().count() <= NAME && end.chars().any(char::is_alphabetic);
    let (from, to) = if pattern.from_first { (one, other) } else { (other, one) };
    (spoken && named(&from) && named(&to)).then_some(Parties { source: from, destination: to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_name_two_ends() {
        let words = Vocabulary::standard().expect("well-formed");
        let cases = [
            ("Porte in ingresso da Internet a MCS:", Some(("Internet", "MCS"))),
            ("From Edge to Front End", Some(("Edge", "Front End"))),
            ("Ports vom Client zum Server", Some(("Client", "Server"))),
            ("監視サーバーから管理サーバーへの通信", Some(("監視サーバー", "管理サーバー"))),
            ("Web → Datenbank", Some(("Web", "Datenbank"))),
            ("Table 3: From Edge to Front End", Some(("Edge", "Front End"))),
            ("4. Alarm relay (relay ⇒ sensor)", Some(("relay", "sensor"))),
            ("受信（他サーバーからマネージャーへ）", Some(("他サーバー", "マネージャー"))),
            ("4. Relay → sensor", Some(("Relay", "sensor"))),
            ("Relay ← sensor", Some(("sensor", "Relay"))),
            ("How to get from here to there in a day", None),
            ("Worker nodes", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(source, destination): (&str, &str)| Parties {
                source: source.to_owned(),
                destination: destination.to_owned(),
            });
            assert_eq!(parties(text, words), expected, "{text}");
        }
    }

    #[test]
    fn the_number_of_a_table_is_no_part_of_its_title() {
        let words = Vocabulary::standard().expect("well-formed");
        for (text, title) in [
            ("Table 3: Mail relay", "Mail relay"),
            ("Tabella 1. Nodi", "Nodi"),
            ("Tableau 2-1 – Passerelle", "Passerelle"),
            ("表1　サーバー", "サーバー"),
            ("Tabelle 3b: Verwaltung", "Verwaltung"),
            ("Tabela 7a – Agente", "Agente"),
            ("Tabela 6a e 6b - Agente", "e 6b - Agente"),
            ("表D‒1 サーバー", "サーバー"),
            ("Table C-2 Relay", "Relay"),
            ("Table 3com switches", "com switches"),
            ("Port D-1 relay", "Port D-1 relay"),
            ("Table 3", "Table 3"),
            ("Port 443: portal", "Port 443: portal"),
        ] {
            assert_eq!(trim_title(text, words), title);
        }
    }

    #[test]
    fn what_ports_and_directions_belong_to_is_the_role() {
        let words = Vocabulary::standard().expect("well-formed");
        for (text, expected) in [
            ("Inbound to the media server", Some("media server")),
            ("Outbound from the media server", Some("media server")),
            ("C.1 Inbound traffic to the media server", Some("media server")),
            ("Media server: inbound ports", Some("Media server")),
            ("Ports used by the media server", Some("media server")),
            ("3.2 Media server", Some("Media server")),
            // The other end is no role.
            ("Outbound to the Internet", None),
            ("Inbound from the Internet", None),
            ("Eingehend zum Medienserver", Some("Medienserver")),
            ("Ausgehende Verbindungen vom Medienserver", Some("Medienserver")),
            ("Flux entrants vers le serveur de médias", Some("serveur de médias")),
            ("Ports sortants de l'enregistreur", Some("enregistreur")),
            ("Tráfico de entrada hacia el servidor de medios", Some("servidor de medios")),
            ("Conexiones salientes desde el servidor", Some("servidor")),
            ("Tráfego de entrada para os nós do cluster", Some("nós do cluster")),
            ("Tráfego de saída para a Internet", None),
            ("In ingresso al server SCADA", Some("server SCADA")),
            ("Traffico in uscita dal server SCADA", Some("server SCADA")),
            ("Входящие подключения к серверу", Some("серверу")),
            ("Исходящий трафик от узла", Some("узла")),
            ("コントローラへの受信", Some("コントローラ")),
            ("コントローラからの送信", Some("コントローラ")),
            ("数据节点入站端口", Some("数据节点")),
            ("媒体服务器的出站端口", Some("媒体服务器")),
            ("The relay requires", Some("relay")),
            ("The relay also requires the following ports", Some("relay")),
            ("Das Gateway benötigt zusätzlich folgende Ports", Some("Gateway")),
            ("La passerelle nécessite en outre", Some("passerelle")),
            ("El nodo de control necesita además", Some("nodo de control")),
            ("Il nodo richiede inoltre", Some("nodo")),
            ("O servidor de mídia precisa das seguintes portas", Some("servidor de mídia")),
            ("Сервер записи использует следующие порты", Some("Сервер записи")),
            ("ゲートウェイは以下のポートを使用します", Some("ゲートウェイ")),
            ("媒体服务器需要以下端口", Some("媒体服务器")),
            ("Matriz de puertos de Acme Gateway", Some("Acme Gateway")),
            ("Ports de Acme Gateway", Some("Acme Gateway")),
            ("Portas do Acme Gateway", Some("Acme Gateway")),
            ("Porte di Acme Gateway", Some("Acme Gateway")),
            ("Ports that must be open on the controller", Some("controller")),
            ("Open these incoming ports on the server", Some("server")),
            ("Порты, которые должны быть открыты на контроллере", Some("контроллере")),
            ("C.1 ファイアウォールの通過方向", None),
            ("For each machine, open", None),
            ("マネージャーが使用するポート", Some("マネージャー")),
            ("Werkseinstellungen", None),
            ("Factory defaults", None),
            ("Puertos de red", None),
            ("Required ports", None),
            ("The following ports are required", None),
            ("Ports from A to B", None),
            ("Ports und URLs", None),
            ("Portas e URLs", None),
            ("Porte assegnate", None),
            ("Spiegazione delle Porte", None),
            ("Cálculo de Puertos", None),
            ("Porte esposte", None),
            ("Puertos expuestos", None),
            ("Exponierte Ports", None),
            ("Ports exposés", None),
            ("Portas expostas", None),
            ("Offene Ports", None),
            ("Portas a abrir", None),
            ("Puertos que deben estar abiertos al exterior", None),
            ("Matrice des flux", None),
            ("Firewall-Freischaltungen", None),
            ("Configuração do Security Group", None),
            ("Сетевые порты и Firewall (UFW)", None),
            ("Network ports and Firewall (UFW)", None),
            ("Краткий список портов", None),
            ("Порты, используемые системой", None),
            ("При запуске приложение", None),
            ("When the client connects", None),
            ("Port number / Service [IP protocol]", None),
            ("表D‒1 中継サーバーで使用するポート番号", Some("中継サーバー")),
            ("Tabelle 3b: Verwaltung", Some("Verwaltung")),
            ("Open shelf", Some("Open shelf")),
        ] {
            assert_eq!(role(&trim_title(text, words), words).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ports_and_directions_are_no_roles() {
        let words = Vocabulary::standard().expect("well-formed");
        for (text, generic) in [
            ("Required ports", true),
            ("2.1 Ports and protocols", true),
            ("C.1 Ports and protocols", true),
            ("Eingehende Verbindungen", true),
            ("必要なポート", true),
            ("Porte di origine e destinazione", true),
            ("Required ports (Rev. 3.1)", true),
            ("Ports (mail relay)", false),
            ("Control plane", false),
            ("Ports of the mail relay", false),
        ] {
            assert_eq!(is_generic(text, words), generic, "{text}");
        }
    }
}
