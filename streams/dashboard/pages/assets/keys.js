// Keys of the page, but for those that go into a field into which one types. A box that was ticked
// keeps the focus and takes no letters: keys are commands there too.
const withoutText = ["button", "checkbox", "color", "file", "image", "radio", "range", "reset", "submit"];

function takesText(element) {
  const tag = element?.tagName?.toLowerCase();
  if (tag === "input") return !withoutText.includes(element.type);
  return tag === "select" || tag === "textarea" || Boolean(element?.isContentEditable);
}

export default {
  mounted() {
    this.hear = (event) => {
      if (!(event instanceof KeyboardEvent) || takesText(document.activeElement)) return;
      this.$emit("key", {
        action: event.type,
        altKey: event.altKey,
        ctrlKey: event.ctrlKey,
        shiftKey: event.shiftKey,
        metaKey: event.metaKey,
        code: event.code,
        key: event.key,
        location: event.location,
        repeat: event.repeat,
      });
    };
    document.addEventListener("keydown", this.hear);
  },
  unmounted() {
    document.removeEventListener("keydown", this.hear);
  },
  props: { events: Array, repeating: Boolean, ignore: Array },
};
