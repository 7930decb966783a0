// The node that reports what reaches it, and the recorder's way to the running nodes.
module.exports = function (RED) {
    global.recorder.nodeById = (id) => RED.nodes.getNode(id);
    RED.nodes.registerType("helper", function (config) {
        RED.nodes.createNode(this, config);
        this.on("input", (msg) => global.recorder.out(this.id, msg));
    });
};
