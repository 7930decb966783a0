//! The options of xml2js, with its defaults.

use arcstr::{ArcStr, literal};

use crate::model::{Object, Value};

pub(super) struct Options {
    // Reading
    pub(super) attr_key: ArcStr,
    pub(super) char_key: ArcStr,
    pub(super) child_key: ArcStr,
    pub(super) explicit_char_key: bool,
    pub(super) trim: bool,
    pub(super) normalize: bool,
    pub(super) normalize_tags: bool,
    pub(super) explicit_root: bool,
    pub(super) explicit_array: bool,
    pub(super) ignore_attrs: bool,
    pub(super) merge_attrs: bool,
    pub(super) explicit_children: bool,
    pub(super) preserve_children_order: bool,
    pub(super) chars_as_children: bool,
    pub(super) include_white_chars: bool,
    pub(super) xmlns: bool,
    /// What an element without contents is; `""` leaves its white space.
    pub(super) empty_tag: Value,
    // Writing
    pub(super) root_name: ArcStr,
    pub(super) headless: bool,
    pub(super) cdata: bool,
    pub(super) version: ArcStr,
    pub(super) encoding: Option<ArcStr>,
    pub(super) standalone: Option<bool>,
    pub(super) public_id: Option<ArcStr>,
    pub(super) system_id: Option<ArcStr>,
    pub(super) pretty: bool,
    pub(super) indent: ArcStr,
    pub(super) newline: ArcStr,
    pub(super) allow_empty: bool,
    pub(super) space_before_slash: ArcStr,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            attr_key: literal!("$"),
            char_key: literal!("_"),
            child_key: literal!("$$"),
            explicit_char_key: false,
            trim: false,
            normalize: false,
            normalize_tags: false,
            explicit_root: true,
            explicit_array: true,
            ignore_attrs: false,
            merge_attrs: false,
            explicit_children: false,
            preserve_children_order: false,
            chars_as_children: false,
            include_white_chars: false,
            xmlns: false,
            empty_tag: Value::String(ArcStr::new()),
            root_name: literal!("root"),
            headless: false,
            cdata: false,
            version: literal!("1.0"),
            encoding: Some(literal!("UTF-8")),
            standalone: Some(true),
            public_id: None,
            system_id: None,
            pretty: true,
            indent: literal!("  "),
            newline: literal!("\n"),
            allow_empty: false,
            space_before_slash: ArcStr::new(),
        }
    }
}

impl Options {
    pub(super) fn read(given: &Object) -> Options {
        let mut options = Options::default();
        let text = |name: &str, into: &mut ArcStr| {
            if let Some(value) = given.get(name).filter(|v| !v.is_nullish()) {
                *into = value.to_js_string();
            }
        };
        text("attrkey", &mut options.attr_key);
        text("charkey", &mut options.char_key);
        text("childkey", &mut options.child_key);
        text("rootName", &mut options.root_name);
        let flag = |name: &str, into: &mut bool| *into = given.get(name).map_or(*into, Value::is_truthy);
        flag("explicitCharkey", &mut options.explicit_char_key);
        flag("trim", &mut options.trim);
        flag("normalize", &mut options.normalize);
        flag("normalizeTags", &mut options.normalize_tags);
        flag("explicitRoot", &mut options.explicit_root);
        flag("explicitArray", &mut options.explicit_array);
        flag("ignoreAttrs", &mut options.ignore_attrs);
        flag("mergeAttrs", &mut options.merge_attrs);
        flag("explicitChildren", &mut options.explicit_children);
        flag("preserveChildrenOrder", &mut options.preserve_children_order);
        flag("charsAsChildren", &mut options.chars_as_children);
        flag("includeWhiteChars", &mut options.include_white_chars);
        flag("xmlns", &mut options.xmlns);
        flag("headless", &mut options.headless);
        flag("cdata", &mut options.cdata);
        if let Some(empty) = given.get("emptyTag") {
            options.empty_tag = empty.clone();
        }
        options.read_declaration(given);
        options.read_rendering(given);
        options
    }

    fn read_declaration(&mut self, given: &Object) {
        let text = |of: &Value, name: &str| Some(of.get(name)).filter(|v| !v.is_nullish()).map(|v| v.to_js_string());
        if let Some(declaration) = given.get("xmldec") {
            self.version = text(declaration, "version").filter(|v| !v.is_empty()).unwrap_or_else(|| literal!("1.0"));
            self.encoding = text(declaration, "encoding");
            self.standalone = Some(declaration.get("standalone")).filter(|v| !v.is_nullish()).map(|v| v.is_truthy());
        }
        if let Some(doctype) = given.get("doctype") {
            self.public_id = text(doctype, "pubID");
            self.system_id = text(doctype, "sysID");
        }
    }

    fn read_rendering(&mut self, given: &Object) {
        let Some(rendering) = given.get("renderOpts") else { return };
        let get = |name: &str| Some(rendering.get(name)).filter(|v| !v.is_nullish());
        let spaces = |v: Value| if v == Value::Bool(true) { literal!(" ") } else { v.to_js_string() };
        self.pretty = get("pretty").is_some_and(|v| v.is_truthy());
        self.indent = get("indent").map_or(literal!("  "), |v| v.to_js_string());
        self.newline = get("newline").map_or(literal!("\n"), |v| v.to_js_string());
        self.allow_empty = get("allowEmpty").is_some_and(|v| v.is_truthy());
        self.space_before_slash = get("spaceBeforeSlash").filter(Value::is_truthy).map_or(ArcStr::new(), spaces);
    }
}
