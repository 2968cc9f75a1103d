//! The object file -> maps and programs in the kernel.
//!
//! The library parses the object, sets its constants and relocates it. Its own loader is not used: it reads
//! all types of the running kernel first (five megabytes of text, 20 to 40 ms, and as many megabytes of
//! memory), which only programs that are relocated to the kernel's structures need; and it loads one program
//! after the other, where the verifier can look at both at once.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CString,
    fmt, io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::PathBuf,
    sync::LazyLock,
    thread,
};

use aya::{
    Pod,
    maps::{Map, MapData},
};
use sha2::{Digest as _, Sha256};

use aya_obj::{EbpfSectionKind, Function, Object, ParseError, ProgramSection};

use super::{
    DatapathError, pins,
    sys::{self, Records, Refused, Types, Unloaded},
};

/// The kernel programs, as build.rs made them.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.bpf.o"));

/// The object as it stands in the file.
static PARSED: LazyLock<Result<Object, ParseError>> = LazyLock::new(|| Object::parse(OBJECT));

/// SHA-256 of that file.
static DIGEST: LazyLock<[u8; 32]> = LazyLock::new(|| Sha256::digest(OBJECT).into());

/// `BPF_PROG_TYPE_SCHED_CLS` and `BPF_PROG_TYPE_XDP`, `BPF_XDP` and `BPF_F_XDP_HAS_FRAGS` of
/// include/uapi/linux/bpf.h.
const SCHED_CLS: u32 = 3;
const XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const XDP_HAS_FRAGS: u32 = 1 << 5;

/// The parsed object.
pub(super) fn object() -> Result<&'static Object, DatapathError> {
    PARSED.as_ref().map_err(|error| DatapathError::bpf("read the kernel programs", error))
}

/// The bytes of a constant.
pub(super) struct Constant<'a>(pub(super) &'a [u8]);

impl<'a, T: Pod> From<&'a [T]> for Constant<'a> {
    fn from(values: &'a [T]) -> Self {
        // SAFETY: `T` is plain data without padding (`Pod`), so that its bytes may be looked at.
        Self(unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) })
    }
}

impl<'a, T: Pod> From<&'a T> for Constant<'a> {
    fn from(value: &'a T) -> Self {
        Self::from(std::slice::from_ref(value))
    }
}

/// What is to be loaded, and how.
#[derive(Default)]
pub(super) struct Loader<'a> {
    constants: HashMap<&'a str, (&'a [u8], bool)>,
    entries: HashMap<&'a str, u32>,
    pins: HashMap<&'a str, PathBuf>,
}

impl<'a> Loader<'a> {
    /// Sets a constant. One that must exist and does not is an error.
    pub(super) fn override_global(
        &mut self,
        name: &'a str,
        value: impl Into<Constant<'a>>,
        must_exist: bool,
    ) -> &mut Self {
        self.constants.insert(name, (value.into().0, must_exist));
        self
    }

    /// Sets how many entries a map has.
    pub(super) fn map_max_entries(&mut self, name: &'a str, entries: u32) -> &mut Self {
        self.entries.insert(name, entries);
        self
    }

    /// Takes the map that is pinned at `path`, and pins it there where it is new.
    pub(super) fn map_pin_path(&mut self, name: &'a str, path: PathBuf) -> &mut Self {
        self.pins.insert(name, path);
        self
    }

    /// What tells these programs apart from all others: the object, and what it is loaded with.
    pub(super) fn digest(&self) -> Sha256 {
        let mut digest = Sha256::new();
        digest.update(*DIGEST);
        let constants: BTreeMap<_, _> = self.constants.iter().collect();
        for (name, (bytes, _)) in constants {
            part(&mut digest, name, bytes);
        }
        let entries: BTreeMap<_, _> = self.entries.iter().collect();
        for (name, entries) in entries {
            part(&mut digest, name, &entries.to_ne_bytes());
        }
        digest
    }

    /// Makes the maps; the programs are ready to be verified then.
    pub(super) fn load(&self) -> Result<Loaded, DatapathError> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            DatapathError::bpf("prepare the kernel programs", error)
        };
        let mut object = object()?.clone();
        object.patch_map_data(self.constants.clone()).map_err(|error| failed(&error))?;
        let features = aya::features();
        let mut types = None;
        if let Some(known) = features.btf() {
            let sane = object.fixup_and_sanitize_btf(known).map_err(|error| failed(&error))?;
            // Whether the programs can do without is the verifier's to say.
            types = sane.and_then(|sane| {
                let loaded = sys::load_types(&sane.to_bytes());
                loaded.inspect_err(|error| log::debug!("the types of the programs: {error}")).ok()
            });
        }
        let mut definitions: Vec<(String, aya_obj::Map)> = object.maps.drain().collect();
        let mut maps = HashMap::new();
        for (name, definition) in &mut definitions {
            if let Some(entries) = self.entries.get(name.as_str()) {
                definition.set_max_entries(*entries);
            }
            maps.insert(name.clone(), self.map(name, definition, types.as_ref())?);
        }
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        let descriptors = definitions.iter().filter_map(|(name, definition)| {
            Some((name.as_str(), maps.get(name)?.fd().as_fd().as_raw_fd(), definition))
        });
        object.relocate_maps(descriptors, &sections).map_err(|error| failed(&error))?;
        object.relocate_calls(&sections).map_err(|error| failed(&error))?;
        object.sanitize_functions(features);
        let maps = maps
            .into_iter()
            .map(|(name, map)| Map::from_map_data(map).map(|map| (name, map)))
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&error))?;
        Ok(Loaded { maps, object, types, programs: HashMap::new() })
    }

    fn map(
        &self,
        name: &str,
        definition: &aya_obj::Map,
        types: Option<&OwnedFd>,
    ) -> Result<MapData, DatapathError> {
        let make = || {
            let made = MapData::create(definition.clone(), name, types.map(OwnedFd::as_fd));
            made.map_err(|error| DatapathError::bpf("load the kernel programs", &error))
        };
        let Some(path) = self.pins.get(name) else {
            let map = make()?;
            return fill(&map, definition)
                .map(|()| map)
                .map_err(|error| DatapathError::bpf(format!("fill the map `{name}`"), &error));
        };
        if let Some(pinned) = pins::held(path)? {
            return MapData::from_pin(pinned.path())
                .map_err(|error| DatapathError::bpf(format!("open {}", path.display()), &error));
        }
        let map = make()?;
        pins::pin(path, |name| map.pin(name))?;
        Ok(map)
    }
}

/// Adds something to a digest so that no two lists of parts look alike.
pub(super) fn part(digest: &mut Sha256, name: &str, bytes: &[u8]) {
    for part in [name.as_bytes(), bytes] {
        digest.update(part.len().to_ne_bytes());
        digest.update(part);
    }
}

/// Writes the constants and variables that stand in a section of the object.
fn fill(map: &MapData, definition: &aya_obj::Map) -> io::Result<()> {
    if !definition.data().is_empty() {
        sys::write_data(map.fd(), definition.data())?;
    }
    if definition.section_kind() == EbpfSectionKind::Rodata {
        sys::freeze(map.fd())?;
    }
    Ok(())
}

/// The object's maps in the kernel, and its programs.
pub struct Loaded {
    maps: HashMap<String, Map>,
    object: Object,
    types: Option<OwnedFd>,
    programs: HashMap<&'static str, OwnedFd>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("programs", &self.programs.keys()).finish_non_exhaustive()
    }
}

impl Loaded {
    /// A map by its name.
    pub fn map_mut(&mut self, name: &str) -> Option<&mut Map> {
        self.maps.get_mut(name)
    }

    /// Takes a map out.
    pub(super) fn take_map(&mut self, name: &str) -> Option<Map> {
        self.maps.remove(name)
    }

    /// Has the verifier look at programs, all at once, and compile them.
    pub(super) fn verify(&mut self, names: &[&'static str]) -> Result<(), DatapathError> {
        let programs: Result<Vec<_>, _> = thread::scope(|scope| {
            let begun: Vec<_> = names.iter().map(|name| scope.spawn(|| self.verified(name))).collect();
            let ended = begun
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ended.collect()
        });
        self.programs.extend(names.iter().copied().zip(programs?));
        Ok(())
    }

    fn verified(&self, name: &'static str) -> Result<OwnedFd, DatapathError> {
        let program = self.object.programs.get(name).ok_or_else(|| missing(name))?;
        let function = self.object.functions.get(&program.function_key()).ok_or_else(|| missing(name))?;
        let (kind, attach, flags) = match program.section {
            ProgramSection::Xdp { frags, .. } => (XDP, ATTACH_XDP, if frags { XDP_HAS_FRAGS } else { 0 }),
            _ => (SCHED_CLS, 0, 0),
        };
        let license: &CString = &program.license;
        let types = self.types.as_ref().map(|loaded| types_of(loaded, function));
        let instructions = &function.instructions;
        sys::load(&Unloaded { kind, attach, flags, name, license, instructions, types })
            .map_err(|refused| refusal(name, &refused))
    }

    /// A loaded program by its name.
    pub(super) fn program(&self, name: &'static str) -> Result<&OwnedFd, DatapathError> {
        self.programs.get(name).ok_or_else(|| missing(name))
    }
}

fn types_of<'a>(loaded: &'a OwnedFd, function: &Function) -> Types<'a> {
    Types {
        loaded: loaded.as_fd(),
        functions: Records { bytes: function.func_info.func_info_bytes(), size: function.func_info_rec_size },
        lines: Records { bytes: function.line_info.line_info_bytes(), size: function.line_info_rec_size },
    }
}

fn missing(name: &str) -> DatapathError {
    DatapathError::Bpf { what: format!("find the program `{name}`"), reason: "not in the object".into() }
}

fn refusal(program: &'static str, Refused { error, log }: &Refused) -> DatapathError {
    let told =
        if log.is_empty() { String::new() } else { format!(": {}", log.trim_end().replace('\n', "\n  ")) };
    DatapathError::Refused { program, reason: format!("{error}{told}") }
}
