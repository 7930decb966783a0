//! Packets out of messages and settings, and what of received ones goes into messages. MQTT 5 where the broker is asked
//! for it, else 3.1.1.

use mqtt_protocol_core::mqtt::packet::{
    ContentType, CorrelationData, MessageExpiryInterval, Packet, PayloadFormat, PayloadFormatIndicator, Properties,
    Property, Qos, ReceiveMaximum, RequestProblemInformation, RequestResponseInformation, ResponseTopic,
    RetainHandling, SessionExpiryInterval, SubEntry, SubOpts, SubscriptionIdentifier, TopicAlias, TopicAliasMaximum,
    UserProperty, WillDelayInterval, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::payload;
use super::settings::{Notice, Settings};
use crate::model::{Msg, Object, Value};

/// A message to be published.
#[derive(Clone, Debug, Default)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Of MQTT 5: `responseTopic`, `correlationData`, `contentType`, `messageExpiryInterval`, `userProperties`,
    /// `payloadFormatIndicator`, `topicAlias`.
    pub(super) more: Object,
}

impl Outgoing {
    pub(super) fn of_notice(notice: &Notice) -> Outgoing {
        Outgoing {
            topic: notice.topic.clone(),
            payload: payload::write(&notice.payload),
            qos: notice.qos,
            retain: notice.retain,
            more: notice.more.clone(),
        }
    }
}

/// A subscription as the server is told it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) topic: String,
    pub(super) qos: u8,
    /// Of MQTT 5: nothing of one's own; the retain flag as it was published; when retained messages are sent (0–2).
    pub(super) no_local: bool,
    pub(super) as_published: bool,
    pub(super) retain_handling: u8,
}

fn qos_of(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// JavaScript's `parseInt`, in these bounds.
fn number(value: &Value, least: f64, most: f64) -> Option<f64> {
    let number = match value {
        Value::String(_) | Value::Number(_) => value.to_number().trunc(),
        _ => return None,
    };
    Some(number).filter(|n| *n >= least && *n <= most)
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text == "true" => Some(true),
        Value::String(text) if text == "false" => Some(false),
        _ => None,
    }
}

/// User properties: texts as they are, other values as JSON.
fn user_properties(value: &Value, into: &mut Properties) -> Result<(), MqttError> {
    for (name, value) in value.as_object().into_iter().flat_map(Object::iter) {
        let text = match value {
            Value::Undefined | Value::Null => continue,
            Value::String(text) => text.to_string(),
            other => other.to_json(),
        };
        into.push(UserProperty::new(name.as_str(), text.as_str())?.into());
    }
    Ok(())
}

fn message_properties(more: &Object, alias_max: u16) -> Result<Properties, MqttError> {
    let get = |name: &str| more.get(name).cloned().unwrap_or_default();
    let mut all = Properties::new();
    if let Some(flag) = flag(&get("payloadFormatIndicator")) {
        let format = if flag { PayloadFormat::String } else { PayloadFormat::Binary };
        all.push(PayloadFormatIndicator::new(format)?.into());
    }
    if let Some(seconds) = number(&get("messageExpiryInterval"), 0.0, f64::from(u32::MAX)) {
        all.push(MessageExpiryInterval::new(seconds as u32)?.into());
    }
    if let Some(content_type) = text(&get("contentType")) {
        all.push(ContentType::new(content_type)?.into());
    }
    if let Some(topic) = text(&get("responseTopic")) {
        all.push(ResponseTopic::new(topic)?.into());
    }
    match get("correlationData") {
        Value::Bytes(bytes) => all.push(CorrelationData::new(bytes.to_vec())?.into()),
        Value::String(text) if !text.is_empty() => all.push(CorrelationData::new(text.as_str())?.into()),
        _ => {}
    }
    if let Some(alias) = number(&get("topicAlias"), 1.0, f64::from(alias_max)) {
        all.push(TopicAlias::new(alias as u16)?.into());
    }
    user_properties(&get("userProperties"), &mut all)?;
    Ok(all)
}

/// PUBLISH; `id` for quality of service above 0.
pub(super) fn publish(v5: bool, out: &Outgoing, id: Option<u16>, alias_max: u16) -> Result<Packet, MqttError> {
    Ok(if v5 {
        v5_0::Publish::builder()
            .topic_name(out.topic.as_str())?
            .qos(qos_of(out.qos))
            .retain(out.retain)
            .packet_id(id)
            .props(message_properties(&out.more, alias_max)?)
            .payload(out.payload.clone())
            .build()?
            .into()
    } else {
        v3_1_1::Publish::builder()
            .topic_name(out.topic.as_str())?
            .qos(qos_of(out.qos))
            .retain(out.retain)
            .packet_id(id)
            .payload(out.payload.clone())
            .build()?
            .into()
    })
}

/// CONNECT.
pub(super) fn connect(settings: &Settings) -> Result<Packet, MqttError> {
    let will = settings.will.as_ref().map(Outgoing::of_notice);
    if !settings.v5 {
        let mut connect = v3_1_1::Connect::builder()
            .client_id(settings.client_id.as_str())?
            .clean_session(settings.clean)
            .keep_alive(settings.keep_alive);
        if let Some(will) = &will {
            connect = connect.will_message(will.topic.as_str(), will.payload.clone(), qos_of(will.qos), will.retain)?;
        }
        if let Some(user) = &settings.user {
            connect = connect.user_name(user.as_str())?;
            if let Some(password) = &settings.password {
                connect = connect.password(password.as_str())?;
            }
        }
        return Ok(connect.build()?.into());
    }
    let mut all = Properties::new();
    if let Some(seconds) = settings.session_expiry {
        all.push(SessionExpiryInterval::new(seconds)?.into());
    }
    if let Some(most) = settings.receive_maximum {
        all.push(ReceiveMaximum::new(most)?.into());
    }
    if let Some(most) = settings.topic_alias_maximum {
        all.push(TopicAliasMaximum::new(most)?.into());
    }
    all.push(RequestResponseInformation::new(1)?.into());
    all.push(RequestProblemInformation::new(1)?.into());
    user_properties(&settings.user_properties, &mut all)?;
    let mut connect = v5_0::Connect::builder()
        .client_id(settings.client_id.as_str())?
        .clean_start(settings.clean)
        .keep_alive(settings.keep_alive)
        .props(all);
    if let Some(will) = &will {
        connect = connect.will_message(will.topic.as_str(), will.payload.clone(), qos_of(will.qos), will.retain)?;
        let mut will_props = message_properties(&will.more, 0)?;
        if let Some(delay) = number(&will.more.get("willDelayInterval").cloned().unwrap_or_default(), 0.0, 4e9) {
            will_props.push(WillDelayInterval::new(delay as u32)?.into());
        }
        connect = connect.will_props(will_props);
    }
    if let Some(user) = &settings.user {
        connect = connect.user_name(user.as_str())?;
        if let Some(password) = &settings.password {
            connect = connect.password(password.as_str())?;
        }
    }
    Ok(connect.build()?.into())
}

/// SUBSCRIBE; `number` tells the messages of this filter from others', where the server can do so.
pub(super) fn subscribe(v5: bool, filter: &Filter, id: u16, number: Option<u32>) -> Result<Packet, MqttError> {
    let mut options = SubOpts::new().set_qos(qos_of(filter.qos));
    if !v5 {
        let entry = SubEntry::new(filter.topic.as_str(), options)?;
        return Ok(v3_1_1::Subscribe::builder().packet_id(id).entries(vec![entry]).build()?.into());
    }
    // A shared subscription may not leave out one's own messages (MQTT 5, 3.8.3.1).
    let handling = match filter.retain_handling {
        1 => RetainHandling::SendRetainedIfNotExists,
        2 => RetainHandling::DoNotSendRetained,
        _ => RetainHandling::SendRetained,
    };
    options = options.set_nl(filter.no_local && !filter.topic.starts_with("$share/"));
    options = options.set_rap(filter.as_published).set_rh(handling);
    let mut all = Properties::new();
    if let Some(number) = number {
        all.push(SubscriptionIdentifier::new(number)?.into());
    }
    let entry = SubEntry::new(filter.topic.as_str(), options)?;
    Ok(v5_0::Subscribe::builder().packet_id(id).entries(vec![entry]).props(all).build()?.into())
}

/// UNSUBSCRIBE.
pub(super) fn unsubscribe(v5: bool, topic: &str, id: u16) -> Result<Packet, MqttError> {
    Ok(if v5 {
        v5_0::Unsubscribe::builder().packet_id(id).entries(vec![topic])?.build()?.into()
    } else {
        v3_1_1::Unsubscribe::builder().packet_id(id).entries(vec![topic])?.build()?.into()
    })
}

/// DISCONNECT, so that the server does not publish the will.
pub(super) fn disconnect(v5: bool) -> Result<Packet, MqttError> {
    Ok(if v5 { v5_0::Disconnect::builder().build()?.into() } else { v3_1_1::Disconnect::builder().build()?.into() })
}

/// A received message.
pub(super) struct Incoming {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Numbers of the subscriptions it is for; none where the server does not say.
    pub(super) numbers: Vec<u32>,
    /// What MQTT 5 says besides, in the names of `msg`.
    pub(super) more: Object,
}

impl Incoming {
    pub(super) fn of(packet: &Packet) -> Option<Incoming> {
        match packet {
            Packet::V3_1_1Publish(publish) => Some(Incoming {
                topic: publish.topic_name().to_string(),
                payload: publish.payload().as_slice().to_vec(),
                qos: publish.qos() as u8,
                retain: publish.retain(),
                numbers: Vec::new(),
                more: Object::new(),
            }),
            Packet::V5_0Publish(publish) => {
                let (more, numbers) = read_properties(publish.props());
                Some(Incoming {
                    topic: publish.topic_name().to_string(),
                    payload: publish.payload().as_slice().to_vec(),
                    qos: publish.qos() as u8,
                    retain: publish.retain(),
                    numbers,
                    more,
                })
            }
            _ => None,
        }
    }

    /// As a message, with its payload as given.
    pub(super) fn message(&self, payload: Value, of_this_machine: bool) -> Msg {
        let mut object = Object::with_capacity(6 + self.more.len());
        object.insert("topic", self.topic.as_str());
        object.insert("payload", payload);
        object.insert("qos", f64::from(self.qos));
        object.insert("retain", self.retain);
        for (name, value) in self.more.iter() {
            object.insert(name.clone(), value.clone());
        }
        if of_this_machine {
            object.insert("_topic", self.topic.as_str());
        }
        Msg::from(object)
    }
}

fn read_properties(all: &Properties) -> (Object, Vec<u32>) {
    let (mut more, mut user, mut numbers) = (Object::new(), Object::new(), Vec::new());
    for property in all.iter() {
        match property {
            Property::ResponseTopic(p) => drop(more.insert("responseTopic", p.val())),
            Property::CorrelationData(p) => drop(more.insert("correlationData", Value::Bytes(p.val().to_vec().into()))),
            Property::ContentType(p) => drop(more.insert("contentType", p.val())),
            Property::MessageExpiryInterval(p) => drop(more.insert("messageExpiryInterval", f64::from(p.val()))),
            Property::PayloadFormatIndicator(p) => {
                more.insert("payloadFormatIndicator", p.val() == PayloadFormat::String as u8);
            }
            Property::UserProperty(p) => drop(user.insert(p.key(), p.val())),
            Property::SubscriptionIdentifier(p) => numbers.push(p.val()),
            _ => {}
        }
    }
    if !user.is_empty() {
        more.insert("userProperties", user);
    }
    (more, numbers)
}

/// What a server can do, as it says when it takes a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Abilities {
    pub(super) numbers: bool,
    pub(super) alias_max: u16,
    pub(super) qos_max: u8,
    pub(super) retain: bool,
}

/// The answer to CONNECT: what the server can do, or why it refuses.
pub(super) fn accepted(packet: &Packet) -> Option<Result<Abilities, String>> {
    match packet {
        Packet::V3_1_1Connack(ack) if ack.return_code().is_success() => {
            Some(Ok(Abilities { numbers: false, alias_max: 0, qos_max: 2, retain: true }))
        }
        Packet::V3_1_1Connack(ack) => Some(Err(ack.return_code().to_string())),
        Packet::V5_0Connack(ack) => {
            let reason = ack.reason_code();
            if reason as u8 != 0 {
                return Some(Err(reason.to_string()));
            }
            let mut able = Abilities { numbers: true, alias_max: 0, qos_max: 2, retain: true };
            for property in ack.props().iter() {
                match property {
                    Property::TopicAliasMaximum(p) => able.alias_max = p.val(),
                    Property::MaximumQos(p) => able.qos_max = p.val(),
                    Property::RetainAvailable(p) => able.retain = p.val() != 0,
                    Property::SubscriptionIdentifierAvailable(p) => able.numbers = p.val() != 0,
                    _ => {}
                }
            }
            Some(Ok(able))
        }
        _ => None,
    }
}

/// For an acknowledgement: whose, and why it is a refusal if it is one.
pub(super) fn acknowledged(packet: &Packet) -> Option<(u16, Option<String>)> {
    let refused = |failed: bool, text: String| failed.then_some(text);
    match packet {
        Packet::V5_0Puback(ack) => {
            let reason = ack.reason_code();
            Some((ack.packet_id(), reason.and_then(|r| refused(r.is_failure(), r.to_string()))))
        }
        Packet::V5_0Pubrec(ack) => {
            let reason = ack.reason_code();
            Some((ack.packet_id(), reason.and_then(|r| refused(r.is_failure(), r.to_string()))))
        }
        Packet::V3_1_1Suback(ack) => {
            let failed = ack.return_codes().into_iter().find(|code| code.is_failure());
            Some((ack.packet_id(), failed.map(|code| code.to_string())))
        }
        Packet::V5_0Suback(ack) => {
            let failed = ack.reason_codes().into_iter().find(|code| code.is_failure());
            Some((ack.packet_id(), failed.map(|code| code.to_string())))
        }
        _ => None,
    }
}
